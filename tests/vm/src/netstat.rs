//! The machine's own counters of its network.

use std::fs;

use anyhow::{Context, Result};

/// A counter of the machine, from `/proc/net/snmp` or `/proc/net/netstat`.
pub(crate) fn counter(group: &str, name: &str) -> Result<u64> {
    let tables = ["/proc/net/snmp", "/proc/net/netstat"].map(fs::read_to_string);
    let [one, two] = tables;
    let text = one? + &two?;
    let mut lines = text
        .lines()
        .filter(|line| line.split(':').next() == Some(group));
    let mut next = || -> Result<Vec<&str>> {
        let line = lines.next().with_context(|| format!("no {group}"))?;
        Ok(line.split_whitespace().collect())
    };
    let (head, values) = (next()?, next()?);
    let column = head.iter().position(|word| *word == name);
    let column = column.with_context(|| format!("no {name} in {group}"))?;
    Ok(values[column].parse()?)
}
