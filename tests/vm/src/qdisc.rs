//! The queueing disciplines that some faults need, made with `tc` and removed with their guard.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};

/// The interface that all tests send through.
const LOOPBACK: &str = "lo";

/// A queueing discipline of some interfaces.
pub(crate) struct Qdisc {
    place: &'static [&'static str],
    interfaces: Vec<String>,
}

impl Qdisc {
    /// What filters hang on where the kernel has no tcx, at every interface: the loader attaches to all of them.
    pub(crate) fn clsact() -> Result<Self> {
        let interfaces = observastack_loader::interfaces().context("cannot list the interfaces")?;
        let names = interfaces.into_iter().map(|(name, _)| name).collect();
        Self::make("add", &["clsact"], &[], names)
    }

    /// The queue that lets packets wait for their departure times, with room for all that a test sends.
    pub(crate) fn fq() -> Result<Self> {
        let room = ["fq", "limit", "100000", "flow_limit", "100000"];
        Self::make("replace", &["root"], &room, vec![LOOPBACK.to_owned()])
    }

    /// The kernel's own emulator of delays, for everything that leaves.
    pub(crate) fn netem(delay: Duration) -> Result<Self> {
        let delay = format!("{}us", delay.as_micros());
        let kind = ["netem", "delay", &delay, "limit", "100000"];
        Self::make("replace", &["root"], &kind, vec![LOOPBACK.to_owned()])
    }

    fn make(
        verb: &str,
        place: &'static [&'static str],
        kind: &[&str],
        interfaces: Vec<String>,
    ) -> Result<Self> {
        let mut made = Self {
            place,
            interfaces: Vec::new(),
        };
        for interface in interfaces {
            tc(verb, &interface, &[place, kind].concat())?;
            made.interfaces.push(interface);
        }
        Ok(made)
    }
}

impl Drop for Qdisc {
    fn drop(&mut self) {
        for interface in &self.interfaces {
            if let Err(error) = tc("del", interface, self.place) {
                eprintln!("{error:#}");
            }
        }
    }
}

fn tc(verb: &str, interface: &str, words: &[&str]) -> Result<()> {
    let mut command = Command::new("tc");
    command.args(["qdisc", verb, "dev", interface]).args(words);
    let output = command
        .output()
        .context("this test needs `tc` (iproute2), which cannot be run")?;
    if !output.status.success() {
        bail!(
            "`tc qdisc {verb} dev {interface} {}`: {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
