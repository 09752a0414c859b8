//! A set of faults in a YAML file.
//!
//! ```yaml
//! faults:
//!   - unit: observastack-api@1
//!     fault: packet-loss
//!     for: 2m
//!     probability: 20%
//!     port: 8200
//! ```
//!
//! An entry has the flags of `observastack-ctl inject` as its fields, and values are read as the command line reads them.

mod document;
mod entry;

use std::fmt;

use crate::{api::MAX_SET, fault::FaultRequest, named::Text};

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 256 * 1024;

/// Something wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong; it begins with the field's name where it is about a field.
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            reason,
        } = self;
        write!(out, "line {line}, column {column}: {reason}")
    }
}

impl std::error::Error for FileError {}

/// Where something is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    fn error(self, reason: impl Into<String>) -> FileError {
        FileError {
            line: self.line,
            column: self.column,
            reason: reason.into(),
        }
    }
}

/// One field of a fault that is written in another file: its name, its line and column, its value.
pub(crate) type PlacedField = (String, (usize, usize), Text);

/// Reads one fault that is written in another file, and checks it as [`read`] does.
pub(crate) fn fault(
    (line, column): (usize, usize),
    fields: Vec<PlacedField>,
) -> Result<FaultRequest, Vec<FileError>> {
    let fields = fields
        .into_iter()
        .map(|(name, (line, column), value)| entry::Field {
            name,
            position: Position { line, column },
            value,
        })
        .collect();
    let position = Position { line, column };
    entry::Entry { position, fields }.read()
}

/// Reads a file's faults and checks each as the injector does; everything that is wrong is named at once.
pub fn read(text: &str) -> Result<Vec<FaultRequest>, Vec<FileError>> {
    if text.len() > MAX_FILE {
        let reason = format!("the file is larger than {} KiB", MAX_FILE / 1024);
        return Err(vec![Position::START.error(reason)]);
    }
    let entries = document::entries(text).map_err(|error| vec![error])?;
    if !(1..=MAX_SET).contains(&entries.len()) {
        let reason = format!(
            "faults: {} entries are not allowed; use 1 to {MAX_SET}",
            entries.len()
        );
        return Err(vec![Position::START.error(reason)]);
    }
    let (mut requests, mut errors) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.read() {
            Ok(request) => requests.push(request),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() {
        Ok(requests)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Burst, Call, Fault};

    fn reasons(text: &str) -> Vec<String> {
        let errors = read(text).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_is_a_list_of_requests() {
        let text = "# two faults
faults:
  - unit: observastack-api@1
    fault: packet-loss
    for: 2m
    port: 8200
    burst: 1%,25%
    syn-only: true
  - {unit: 'shop', fault: syscall-error, for: 30s, calls: [read, write], errno: EIO, probability: 20%, seed: 7, every: 2, after: 3, max: 4, verbose: true}
";
        let requests = read(text).unwrap();
        let Fault::PacketLoss(loss) = &requests[0].fault else {
            panic!("{requests:?}")
        };
        let burst = Burst {
            enter: 0.01,
            leave: 0.25,
        };
        assert_eq!(
            (loss.port, loss.burst, loss.syn_only),
            (Some(8200), Some(burst), true)
        );
        assert_eq!(requests[0].for_ms, 120_000);
        let second = &requests[1];
        let Fault::SyscallError(error) = &second.fault else {
            panic!("{requests:?}")
        };
        assert_eq!(error.calls, [Call::Read, Call::Write]);
        assert_eq!(
            (second.probability, second.seed, second.verbose),
            (0.2, Some(7), true)
        );
        assert_eq!((second.every, second.after, second.max), (2, 3, Some(4)));
    }

    #[test]
    fn everything_wrong_is_named_at_once_with_its_place() {
        let text = "faults:
  - unit: sshd
    fault: latency
    for: 2h
    delay: soon
    port: 70000
    colour: red
  - fault: blackhole
    unit: shop
    for: 1s
    every: 3
";
        let reasons = reasons(text);
        for start in [
            "line 2, column 5: unit: `sshd` is not allowed",
            "line 4, column 5: for: `2h` is not allowed",
            "line 5, column 5: delay: `soon` is not allowed",
            "line 6, column 5: port: `70000` is not allowed",
            "line 7, column 5: colour: there is no such field",
            "line 11, column 5: every: `3` is not allowed",
        ] {
            assert!(
                reasons.iter().any(|reason| reason.starts_with(start)),
                "{start}: {reasons:#?}"
            );
        }
        assert_eq!(reasons.len(), 6, "{reasons:#?}");
    }

    #[test]
    fn what_is_missing_is_named_at_its_entry() {
        let reasons = reasons("faults:\n  - fault: latency\n");
        for field in ["unit", "for", "delay"] {
            let start = format!("line 2, column 5: {field}: is needed");
            assert!(
                reasons.iter().any(|reason| reason.starts_with(&start)),
                "{field}: {reasons:?}"
            );
        }
    }

    #[test]
    fn what_is_no_set_is_refused_with_its_place() {
        for (text, reason) in [
            ("", "line 1, column 1: the file is empty"),
            ("faults: []", "line 1, column 1: faults: 0 entries"),
            ("- a", "line 1, column 1: "),
            ("faults: 3", "line 1, column 9: "),
            ("fault:\n - a", "line 1, column 1: fault: "),
            ("faults:\n  - a", "line 2, column 5: "),
            ("faults:\n  - unit: [[a]]", "line 2, column 12: unit: "),
            ("faults:\n  - unit: {a: b}", "line 2, column 11: unit: "),
            (
                "faults:\n  - unit: a\n    unit: b",
                "line 3, column 5: unit: is there twice",
            ),
            ("faults:\n  - unit: &x a", "line 2, column 14: "),
            ("faults:\n  - unit: !!str a", "line 2, column 17: "),
            ("faults:\n  - unit: \"a", "line "),
            (
                "faults:\n  - {unit: a, for: 1s}",
                "line 2, column 5: fault: is needed",
            ),
            (
                "faults:\n  - {unit: a, for: 1s, fault: x}",
                "line 2, column 24: fault: there is no `x`",
            ),
            ("faults: []\nmore: 1", "line 2, column 1: more: "),
            ("faults: []\n---\nfaults: []", "line 2, column 1: "),
        ] {
            let reasons = reasons(text);
            assert!(reasons[0].starts_with(reason), "{text:?}: {reasons:?}");
        }
        let many = format!(
            "faults:\n{}",
            "  - {unit: a, fault: blackhole, for: 1s}\n".repeat(MAX_SET + 1)
        );
        assert!(reasons(&many)[0].contains("65 entries"));
        assert!(reasons(&" ".repeat(MAX_FILE + 1))[0].contains("256 KiB"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn texts_that_look_like_a_set_are_read_or_refused_without_a_panic(
            text in "faults:\n([ -]{0,3}(unit|fault|for|port|delay|calls|probability)?[:]? ?(a|latency|1s|[\\[\\]{}&*!|>'\"#%,0-9a-f~-]{0,8})\n){0,8}"
        ) {
            match read(&text) {
                Ok(requests) => {
                    for request in requests {
                        prop_assert!(request.validate(1).is_ok());
                    }
                }
                Err(errors) => prop_assert!(errors.iter().all(|error| error.line >= 1 && error.column >= 1)),
            }
        }

        #[test]
        fn any_value_of_any_field_is_read_or_refused_without_a_panic(
            kind in proptest::sample::select(crate::fault::KINDS), field in "[a-z_-]{1,12}", value in "\\PC{0,40}"
        ) {
            let quoted = serde_json::to_string(&value).unwrap();
            let _ = read(&format!("faults:\n  - {{unit: a, for: 1s, fault: {kind}, {field}: {quoted}}}"));
        }
    }
}
