//! Kills a unit's processes, or restarts the unit, once or again and again. systemd does it, so the journal shows it.

use std::time::Duration;

use tracing::debug;

use super::{Choice, Pace, Run};
use crate::host::command;

/// Kills or restarts.
#[derive(Clone, Debug)]
pub struct UnitKill {
    /// The unit.
    pub unit: String,
    /// What is done to it.
    pub blow: Blow,
    /// How often.
    pub pace: Pace,
    /// Which of the times.
    pub choice: Choice,
}

/// What is done to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blow {
    /// A signal to all of its processes, by name: `SIGKILL`.
    Signal(String),
    /// A signal to its main process only.
    SignalMain(String),
    /// A restart.
    Restart,
}

impl UnitKill {
    pub(super) fn run(&self, run: &Run) {
        let mut n = 0;
        loop {
            let takes = self.choice.takes(n);
            n += 1;
            if takes {
                match self.strike() {
                    Ok(()) => {
                        debug!(fault = run.id, unit = self.unit, blow = ?self.blow, "struck");
                        run.counts.add(1, 1, 0);
                    }
                    Err(error) => {
                        // It may not be running just now.
                        run.failed(&error, "cannot strike the unit");
                        run.counts.add(1, 0, 1);
                    }
                }
            } else {
                run.counts.add(1, 0, 0);
            }
            if !run.next(self.pace) {
                return;
            }
        }
    }

    fn strike(&self) -> Result<(), command::CommandError> {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        command::run_within("systemctl", &arguments, Duration::from_secs(5)).map(|_| ())
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = match &self.blow {
            Blow::Restart => vec!["restart".to_owned(), "--no-block".to_owned()],
            Blow::Signal(signal) => vec!["kill".to_owned(), format!("--signal={signal}")],
            Blow::SignalMain(signal) => vec![
                "kill".to_owned(),
                "--kill-who=main".to_owned(),
                format!("--signal={signal}"),
            ],
        };
        arguments.extend(["--".to_owned(), self.unit.clone()]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_in_its_own_words() {
        let line = |blow| {
            let choice = Choice {
                seed: 1,
                probability: 1.0,
            };
            UnitKill {
                unit: "shop.service".to_owned(),
                blow,
                pace: Pace::Once,
                choice,
            }
            .arguments()
            .join(" ")
        };
        assert_eq!(line(Blow::Restart), "restart --no-block -- shop.service");
        assert_eq!(
            line(Blow::Signal("SIGKILL".into())),
            "kill --signal=SIGKILL -- shop.service"
        );
        assert_eq!(
            line(Blow::SignalMain("SIGTERM".into())),
            "kill --kill-who=main --signal=SIGTERM -- shop.service"
        );
    }
}
