//! What a person sees while a long command runs.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Where standard error is no terminal, a long command shows that it lives this often.
const PLAIN_PROGRESS: Duration = Duration::from_secs(60);

/// The line that shows that a step is alive.
pub(crate) struct Progress<'a> {
    label: Option<&'a str>,
    terminal: bool,
    last: Instant,
}

impl<'a> Progress<'a> {
    /// For a command with this label; without one nothing is shown.
    pub(crate) fn new(label: Option<&'a str>) -> Self {
        Self {
            label,
            terminal: std::io::stderr().is_terminal(),
            last: Instant::now(),
        }
    }

    /// Shows how long it has been and the last line, now and then.
    pub(crate) fn tick(&mut self, started: Instant, line: Option<&String>) {
        let Some(label) = self.label else { return };
        let every = if self.terminal {
            Duration::from_millis(200)
        } else {
            PLAIN_PROGRESS
        };
        if self.last.elapsed() < every {
            return;
        }
        self.last = Instant::now();
        let line: String = line
            .map(|line| {
                line.trim()
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(70)
                    .collect()
            })
            .unwrap_or_default();
        if self.terminal {
            eprint!(
                "\r\x1b[K    {label} {} s  {line}",
                started.elapsed().as_secs()
            );
        } else {
            eprintln!("    {label}: {} s  {line}", started.elapsed().as_secs());
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.label.is_some() && self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// Says how it ended.
    pub(crate) fn done(&self, started: Instant, success: bool) {
        self.clear();
        if let Some(label) = self.label {
            eprintln!(
                "    {label}: {} after {:.1} s",
                if success { "done" } else { "FAILED" },
                started.elapsed().as_secs_f64()
            );
        }
    }
}
