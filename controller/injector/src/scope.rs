//! Whether a unit that is not running may be a target: systemd is asked, in its own words.

use std::process::Stdio;

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

/// Asks systemd about a unit.
pub(crate) async fn standing(unit: &str, slices: &[String]) -> Standing {
    let mut show = Command::new("systemctl");
    show.args(["show", "--property=LoadState,Slice", "--", unit])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(std::time::Duration::from_secs(3), show.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            read(&String::from_utf8_lossy(&output.stdout), slices)
        }
        Ok(Ok(output)) => {
            Standing::Unclear(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
        Ok(Err(error)) => Standing::Unclear(format!("cannot run systemctl: {error}")),
        Err(_) => Standing::Unclear("systemctl did not answer within 3 s".to_owned()),
    }
}

/// Reads `systemctl show`'s lines.
fn read(text: &str, slices: &[String]) -> Standing {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or("")
    };
    if value("LoadState") != "loaded" {
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
        let read = |text| read(text, &slices);
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
}
