//! The last line but one: systemd itself reverts a fault, though injector and guard be gone.
//!
//! A transient timer is armed before anything is changed, for one second after the fault's end, and disarmed after the
//! revert. It runs outside every sandbox of ours.

use std::{path::PathBuf, time::Duration};

use tracing::debug;

use super::command::{self, CommandError};

/// How long after a fault's end the timer goes off: the injector comes first, then the guard.
const GRACE: Duration = Duration::from_secs(1);

/// Who reverts a fault when nobody else does.
pub trait Armer: Send + Sync {
    /// Arms a timer that reverts fault `id` this long after now, and a second.
    fn arm(&self, id: u64, after: Duration) -> Result<(), CommandError>;
    /// Disarms it. One that is gone is disarmed.
    fn disarm(&self, id: u64);
}

/// A transient systemd timer that runs `observastack-injector revert ID`.
#[derive(Clone, Debug)]
pub struct Systemd {
    /// The injector's binary.
    pub binary: PathBuf,
    /// The injector's state directory.
    pub state_dir: PathBuf,
}

/// No timer, for machines whose pid 1 is not systemd: there the caller has to stay alive, or the guard.
#[derive(Clone, Copy, Debug)]
pub struct Unarmed;

impl Systemd {
    fn unit(id: u64) -> String {
        format!("observastack-revert-{id}")
    }

    fn arguments(&self, id: u64, after: Duration) -> Vec<String> {
        let after = after + GRACE;
        vec![
            "--quiet".to_owned(),
            "--collect".to_owned(),
            format!("--unit={}", Self::unit(id)),
            "--slice=observastack-control.slice".to_owned(),
            format!("--on-active={}ms", after.as_millis()),
            "--timer-property=AccuracySec=100ms".to_owned(),
            format!("--description=Reverts fault {id} of ObservaStack"),
            "--".to_owned(),
            self.binary.display().to_string(),
            format!("--state-dir={}", self.state_dir.display()),
            "revert".to_owned(),
            id.to_string(),
        ]
    }
}

impl Armer for Systemd {
    fn arm(&self, id: u64, after: Duration) -> Result<(), CommandError> {
        let arguments = self.arguments(id, after);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match command::run("systemd-run", &arguments) {
            // Left by an injector that died with this id; ids are not used again, so it is of no use to anybody.
            Err(error) if error.says(&["already loaded", "already exists"]) => {
                self.disarm(id);
                command::run("systemd-run", &arguments).map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }

    fn disarm(&self, id: u64) {
        let timer = format!("{}.timer", Self::unit(id));
        if let Err(error) = command::run("systemctl", &["stop", "--", &timer]) {
            debug!(fault = id, %error, "the timer is gone already");
        }
    }
}

impl Armer for Unarmed {
    fn arm(&self, _id: u64, _after: Duration) -> Result<(), CommandError> {
        Ok(())
    }

    fn disarm(&self, _id: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_goes_off_a_second_after_the_end_and_reverts_this_fault() {
        let systemd = Systemd {
            binary: "/usr/lib/observastack/bin/observastack-injector".into(),
            state_dir: "/var/lib/observastack/injector".into(),
        };
        let line = systemd.arguments(7, Duration::from_millis(1500)).join(" ");
        assert!(
            line.contains("--unit=observastack-revert-7 ") && line.contains("--on-active=2500ms"),
            "{line}"
        );
        assert!(line.ends_with("-- /usr/lib/observastack/bin/observastack-injector --state-dir=/var/lib/observastack/injector revert 7"), "{line}");
    }
}
