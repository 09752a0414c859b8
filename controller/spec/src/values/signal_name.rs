//! Signals by name.

use std::{fmt, str::FromStr};

use crate::ValueError;

const ALLOWED: &str = "the name of a signal, such as TERM, KILL, SEGV or STOP";

macro_rules! signals {
    ($($name:ident)*) => {
        /// Every standard signal of Linux (signal(7)).
        const ALL: &[(&str, i32)] = &[$((stringify!($name), libc::$name)),*];
    };
}

signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM
    SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO
    SIGPWR SIGSYS
}

/// A signal, written with or without `SIG`, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name, with `SIG`.
    pub fn name(self) -> &'static str {
        let found = ALL.iter().find(|(_, number)| *number == self.0);
        found.map_or("SIGKILL", |(name, _)| name)
    }
}

impl FromStr for Signal {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let upper = text.to_ascii_uppercase();
        let stem = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = ALL
            .iter()
            .find(|(name, _)| name.strip_prefix("SIG") == Some(stem));
        found
            .map(|(_, number)| Self(*number))
            .ok_or_else(|| ValueError::new(text, ALLOWED))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

text_in_json!(Signal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back_with_and_without_sig() {
        for (name, number) in ALL {
            for text in [name, &name[3..], &name.to_ascii_lowercase()] {
                let signal: Signal = text.parse().unwrap();
                assert_eq!((signal.number(), signal.name()), (*number, *name));
            }
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_with_examples() {
        for text in ["", "SIG", "9", "SIGSIGKILL", "RTMIN", "FOO"] {
            assert!(
                text.parse::<Signal>().unwrap_err().allowed.contains("TERM"),
                "{text}"
            );
        }
    }
}
