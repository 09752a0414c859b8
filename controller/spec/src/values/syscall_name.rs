//! System calls by name.

use std::{fmt, str::FromStr};

use super::syscalls::ALL;
use crate::ValueError;

const ALLOWED: &str =
    "the name of a system call of this architecture, such as read, openat, connect or futex";

/// A system call of x86_64, by the kernel's own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyscallName(usize);

impl SyscallName {
    /// Its name.
    pub fn name(self) -> &'static str {
        ALL[self.0].0
    }

    /// Its number.
    pub fn number(self) -> i64 {
        ALL[self.0].1
    }
}

impl FromStr for SyscallName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let found = ALL.iter().position(|(name, _)| *name == text).map(Self);
        found.ok_or_else(|| ValueError::new(text, ALLOWED))
    }
}

impl fmt::Display for SyscallName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

text_in_json!(SyscallName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        for (name, number) in [("read", 0), ("openat", 257), ("execve", 59), ("futex", 202)] {
            assert_eq!(name.parse::<SyscallName>().unwrap().number(), number);
        }
        for (name, _) in ALL {
            assert_eq!(name.parse::<SyscallName>().unwrap().to_string(), *name);
        }
    }

    #[test]
    fn what_is_no_call_is_refused_with_examples() {
        for text in ["", "fopen", "SYS_read", "READ", "0"] {
            assert!(
                text.parse::<SyscallName>()
                    .unwrap_err()
                    .allowed
                    .contains("openat"),
                "{text}"
            );
        }
    }
}
