//! Counting tests from what test programs print.

use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;

use anyhow::Result;

/// How much of what a failed test says is repeated at the end.
const REASON_LINES: usize = 6;

/// How many tests ended how, and why the failed ones did.
#[derive(Default, Debug)]
pub(crate) struct Totals {
    /// Did what they should.
    pub(crate) passed: u64,
    /// Did not.
    pub(crate) failed: u64,
    /// Were not run here.
    pub(crate) skipped: u64,
    /// The first lines of each failed test.
    reasons: Vec<Vec<String>>,
    /// Whether the next line is about the last of them.
    is_in_reason: bool,
}

impl Totals {
    /// Takes what a test program prints: why a test failed, from its heading `---- name ----` on, and the totals, from the result line
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`. A line of output can be torn by what a test prints; the last one comes when
    /// all of them have ended.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if line.starts_with("---- ") && line.ends_with(" ----") {
            self.reasons.push(vec![line.to_owned()]);
            self.is_in_reason = true;
        } else if line.starts_with("---- ") || line.starts_with("test result: ") {
            self.is_in_reason = false;
        } else if self.is_in_reason
            && !line.is_empty()
            && let Some(reason) = self.reasons.last_mut()
            && reason.len() <= REASON_LINES
        {
            reason.push(line.to_owned());
        }
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
        self.passed += number(" passed");
        self.failed += number(" failed");
        self.skipped += number(" ignored");
    }

    /// Prints how a check ended, in the same words as a test program, and counts it.
    pub(crate) fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(error) => self.fail(name, &format!("{error:#}")),
        }
    }

    /// As [`Totals::check`], of one that failed.
    pub(crate) fn fail(&mut self, name: &str, reason: &str) {
        println!("test {name} ... FAILED: {reason}");
        self.failed += 1;
        let heading = format!("---- {name} ----");
        let lines = reason.lines().map(str::to_owned).take(REASON_LINES);
        self.reasons
            .push(std::iter::once(heading).chain(lines).collect());
    }

    /// Prints why tests failed and, as the last line, the totals; says whether all is well.
    pub(crate) fn conclude(&self) -> ExitCode {
        for line in self.reasons.iter().flatten() {
            println!("{line}");
        }
        println!("{self}");
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Whether nothing was run at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.skipped == 0
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
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
        assert_eq!((totals.passed, totals.failed, totals.skipped), (13, 1, 2));
        assert!(totals.reasons.is_empty());
    }

    #[test]
    fn keeps_the_first_lines_of_what_failed() {
        let mut totals = Totals::default();
        for line in [
            "---- blackhole::ss_tells ----",
            "the server answers: not within 120 s",
            "---- journalctl --no-pager",
            "Nov 25 an entry of the journal",
            "",
            "---- parse stdout ----",
            "",
            "thread 'parse' panicked at src/lib.rs:1:1:",
            "left is right",
            "test result: FAILED. 0 passed; 2 failed; 0 ignored",
            "noise",
        ] {
            totals.read(line);
        }
        totals.fail("kernel 6.1", "the guest ended without a verdict");
        assert_eq!(
            totals.reasons,
            [
                vec![
                    "---- blackhole::ss_tells ----",
                    "the server answers: not within 120 s"
                ],
                vec![
                    "---- parse stdout ----",
                    "thread 'parse' panicked at src/lib.rs:1:1:",
                    "left is right"
                ],
                vec!["---- kernel 6.1 ----", "the guest ended without a verdict"],
            ]
        );
        assert_eq!(totals.failed, 3);
    }
}
