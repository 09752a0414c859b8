//! Counting tests from what test programs print.

use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;

/// How many tests ended how.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Totals {
    /// Did what they should.
    pub(crate) passed: u64,
    /// Did not.
    pub(crate) failed: u64,
    /// Were not run here.
    pub(crate) skipped: u64,
}

impl Totals {
    /// Takes the totals from a test program's result line: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`. A line of output can be
    /// torn by what a test prints; this one comes when all of them have ended. Other lines don't count.
    pub(crate) fn read(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        let number = |what: &str| -> u64 {
            let Some((before, _)) = result.split_once(what) else {
                return 0;
            };
            before
                .trim_end()
                .rsplit(' ')
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        *self += Self {
            passed: number(" passed"),
            failed: number(" failed"),
            skipped: number(" ignored"),
        };
    }

    /// Counts one check.
    pub(crate) fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Prints the totals as the last line, and says whether all is well.
    pub(crate) fn conclude(self) -> ExitCode {
        println!("{self}");
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Whether nothing was run at all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_result_lines_and_nothing_else() {
        let mut totals = Totals::default();
        for line in [
            "running 4 tests",
            "test loss ... ok",
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "[ 12.3] noise test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out\r",
        ] {
            totals.read(line);
        }
        assert_eq!(
            totals,
            Totals {
                passed: 13,
                failed: 1,
                skipped: 2
            }
        );
    }
}
