//! What systemd says about the lab's units.

use std::{collections::BTreeMap, io};

use serde::Serialize;
use tokio::process::Command;

use crate::failure::Failure;

/// A unit's state in systemd's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unit {
    /// The full name.
    pub(crate) unit: String,
    /// `active`, `inactive`, `failed`, `activating`...
    pub(crate) active: String,
    /// `running`, `exited`, `dead`...
    pub(crate) sub: String,
    /// How often systemd has restarted it.
    pub(crate) restarts: u64,
    /// The main process, 0 where there is none.
    pub(crate) pid: u64,
    /// Memory charged to its cgroup, in bytes, where it is counted.
    pub(crate) memory_bytes: Option<u64>,
}

/// The lab's services by name: those that are meant to run, and those that do something all the same.
pub(crate) async fn units() -> Result<Vec<Unit>, Failure> {
    const PROPERTIES: &str =
        "--property=Id,ActiveState,SubState,UnitFileState,NRestarts,MainPID,MemoryCurrent";
    let failed = |source| Failure::Io {
        what: "cannot ask systemd (systemctl show)".to_owned(),
        source,
    };
    let show = Command::new("systemctl")
        // Without --all a pattern leaves out units that are stopped.
        .args(["show", "--all", PROPERTIES, "observastack-*.service"])
        .output()
        .await;
    let output = show.map_err(failed)?;
    if !output.status.success() {
        return Err(failed(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads `systemctl show`: properties line by line, units separated by an empty line.
fn parse(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = text.split("\n\n").filter_map(parse_one).collect();
    units.sort_by(|a, b| a.unit.cmp(&b.unit));
    units
}

fn parse_one(block: &str) -> Option<Unit> {
    let values: BTreeMap<&str, &str> = block
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let text = |key: &str| {
        values
            .get(key)
            .map_or_else(String::new, |value| (*value).to_owned())
    };
    let number = |key: &str| values.get(key).and_then(|value| value.parse::<u64>().ok());
    let unit = text("Id");
    // An instance that another unit only names in its order is loaded too, but nobody asked for it.
    let is_wanted =
        text("UnitFileState").starts_with("enabled") || text("ActiveState") != "inactive";
    (!unit.is_empty() && is_wanted).then(|| Unit {
        unit,
        active: text("ActiveState"),
        sub: text("SubState"),
        restarts: number("NRestarts").unwrap_or(0),
        pid: number("MainPID").unwrap_or(0),
        // "[not set]" where memory is not accounted; the largest number where the unit is not running.
        memory_bytes: number("MemoryCurrent").filter(|bytes| *bytes != u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_in_order_of_their_names() {
        let text = "MainPID=12\nNRestarts=3\nId=observastack-gateway.service\nActiveState=active\nSubState=running\nMemoryCurrent=[not set]\n\n\
                    MainPID=0\nNRestarts=0\nId=observastack-api@1.service\nActiveState=failed\nSubState=failed\nMemoryCurrent=4096\n";
        let units = parse(text);
        assert_eq!(units.len(), 2);
        assert_eq!(units[0].unit, "observastack-api@1.service");
        assert_eq!(
            (units[0].active.as_str(), units[0].memory_bytes),
            ("failed", Some(4096))
        );
        assert_eq!(
            (units[1].restarts, units[1].pid, units[1].memory_bytes),
            (3, 12, None)
        );
    }

    #[test]
    fn a_stopped_unit_counts_when_it_is_enabled() {
        let text = "Id=observastack-inventory.service\nActiveState=inactive\nSubState=dead\nUnitFileState=enabled\n\n\
                    Id=observastack-api@7.service\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\n\n\
                    Id=observastack-api@8.service\nActiveState=failed\nSubState=failed\nUnitFileState=disabled\n";
        let names: Vec<String> = parse(text).into_iter().map(|unit| unit.unit).collect();
        assert_eq!(
            names,
            [
                "observastack-api@8.service",
                "observastack-inventory.service"
            ]
        );
    }

    #[test]
    fn nothing_loaded_is_no_unit() {
        assert!(parse("").is_empty());
    }
}
