//! Whether a unit that is not running may be a target: systemd is asked, in its own words.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

/// What systemd knows about a unit that has no cgroup in a target slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It exists in a target slice, and is stopped.
    Stopped,
    /// It exists in another slice.
    Elsewhere(String),
    /// There is no such unit.
    Unknown,
    /// systemd could not be asked.
    Unclear(String),
}

/// How long systemd may take to answer: it is slow while many units end and start at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks systemd about a unit.
pub(crate) async fn standing(unit: &str, slices: &[String]) -> Standing {
    let mut show = Command::new("systemctl");
    show.args([
        "show",
        "--property=LoadState,Slice,UnitFileState,InactiveExitTimestampMonotonic",
        "--",
        unit,
    ])
    .stdin(Stdio::null())
    .kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, show.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            read(unit, &String::from_utf8_lossy(&output.stdout), slices)
        }
        Ok(Ok(output)) => {
            Standing::Unclear(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
        Ok(Err(error)) => Standing::Unclear(format!("cannot run systemctl: {error}")),
        Err(_) => Standing::Unclear(format!("systemctl did not answer within {PATIENCE:?}")),
    }
}

/// Reads `systemctl show`'s lines.
fn read(unit: &str, text: &str, slices: &[String]) -> Standing {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or("")
    };
    if value("LoadState") != "loaded" {
        return Standing::Unknown;
    }
    // systemd loads any instance of a template that is asked for: one that was never enabled or started is a slip of the pen.
    let was_never_there = !value("UnitFileState").starts_with("enabled")
        && matches!(value("InactiveExitTimestampMonotonic"), "" | "0");
    if unit.contains('@') && was_never_there {
        return Standing::Unknown;
    }
    let slice = value("Slice");
    if slices.iter().any(|target| target == slice) {
        Standing::Stopped
    } else {
        Standing::Elsewhere(slice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_unit_of_a_target_slice_may_be_a_target() {
        let slices = ["observastack-sut.slice".to_owned()];
        let read = |text| read("shop.service", text, &slices);
        assert_eq!(
            read("Slice=observastack-sut.slice\nLoadState=loaded\n"),
            Standing::Stopped
        );
        assert_eq!(
            read("LoadState=loaded\nSlice=system.slice\n"),
            Standing::Elsewhere("system.slice".into())
        );
        assert_eq!(read("LoadState=not-found\nSlice=\n"), Standing::Unknown);
        assert_eq!(read(""), Standing::Unknown);
    }

    #[test]
    fn an_instance_that_was_never_enabled_or_started_is_unknown() {
        let slices = ["observastack-sut.slice".to_owned()];
        let read = |more: &str| {
            let text = format!("LoadState=loaded\nSlice=observastack-sut.slice\n{more}");
            super::read("observastack-api@77.service", &text, &slices)
        };
        assert_eq!(
            read("UnitFileState=disabled\nInactiveExitTimestampMonotonic=0\n"),
            Standing::Unknown
        );
        assert_eq!(
            read("UnitFileState=enabled\nInactiveExitTimestampMonotonic=0\n"),
            Standing::Stopped
        );
        assert_eq!(
            read("UnitFileState=disabled\nInactiveExitTimestampMonotonic=55\n"),
            Standing::Stopped
        );
    }
}
