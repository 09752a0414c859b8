//! Kills a unit's processes, or restarts the unit, once or again and again. systemd does it, so the journal shows it.
//!
//! A restart that is asked for while systemd is still at one of the same unit becomes one with that: it is none, and is not
//! counted as one.

use std::time::Duration;

use tracing::debug;

use super::{Choice, Pace, Run};
use crate::host::command;

/// How long systemd may take to be asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a unit was not struck.
#[derive(Debug, thiserror::Error)]
enum Missed {
    /// systemd has a job for it, which a restart would become one with.
    #[error("systemd has not finished the start, stop or restart before")]
    Changing,
    /// systemd was not asked, or has refused.
    #[error(transparent)]
    Command(#[from] command::CommandError),
}

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

    fn strike(&self) -> Result<(), Missed> {
        if self.blow == Blow::Restart && self.is_changing()? {
            return Err(Missed::Changing);
        }
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        command::run_within("systemctl", &arguments, PATIENCE)?;
        Ok(())
    }

    /// Whether systemd is starting, stopping or restarting the unit.
    fn is_changing(&self) -> Result<bool, command::CommandError> {
        let arguments = ["show", "--property=Job", "--value", "--", &self.unit];
        let job = command::run_within("systemctl", &arguments, PATIENCE)?;
        Ok(!matches!(job.trim(), "" | "0"))
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
