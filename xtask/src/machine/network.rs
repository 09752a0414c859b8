//! The host's side of a machine's network: an address on the veth interface, forwarding, and a masquerade rule in a table of our own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Name, ROOT_STATE};
use crate::run::Run;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// A network of four addresses: the host's and the machine's.
pub(super) struct Subnet {
    prefix: String,
}

impl Subnet {
    /// The first of a few that this host has no route into, so that nobody's network is hidden.
    pub(super) fn choose(name: Name) -> Result<Self> {
        let routes = Run::new("ip")
            .args(["-4", "route", "show", "table", "all"])
            .output()?;
        let interface = interface(name);
        let taken = |prefix: &str| {
            routes
                .lines()
                .any(|route| route.contains(prefix) && !route.contains(&interface))
        };
        (71..=99)
            .map(|number| format!("10.213.{number}."))
            .find(|prefix| !taken(prefix))
            .map(|prefix| Self { prefix })
            .context("no free network for the machine: this host has routes into 10.213.71.0/30 to 10.213.99.0/30")
    }

    /// The host's address in it.
    pub(super) fn host(&self) -> String {
        format!("{}1", self.prefix)
    }

    /// The machine's address in it.
    pub(super) fn machine(&self) -> String {
        format!("{}2", self.prefix)
    }

    /// systemd-networkd's file for the machine's end.
    pub(super) fn networkd_file(&self) -> String {
        format!(
            "[Match]\nKind=veth\nName=host0\n\n[Network]\nAddress={}/30\nGateway={}\nLinkLocalAddressing=no\nDHCP=no\nIPv6AcceptRA=no\n",
            self.machine(),
            self.host()
        )
    }
}

/// The host's end of the machine's cable.
pub(super) fn interface(name: Name) -> String {
    format!("ve-{}", name.machine())
}

/// Connects the host's end once systemd-nspawn has made it.
pub(super) fn connect(name: Name, subnet: &Subnet) -> Result<()> {
    let interface = interface(name);
    let started = Instant::now();
    while !Path::new("/sys/class/net").join(&interface).exists() {
        if started.elapsed() > Duration::from_secs(20) {
            bail!("systemd-nspawn made no interface {interface} within 20 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Run::root("ip")
        .args([
            "address",
            "replace",
            &format!("{}/30", subnet.host()),
            "dev",
            &interface,
        ])
        .output()?;
    Run::root("ip")
        .args(["link", "set", &interface, "up"])
        .output()?;
    let table = table(name);
    let rules = format!(
        "table ip {table} {{}}\ndelete table ip {table}\ntable ip {table} {{\n  chain postrouting {{\n    type nat hook postrouting priority srcnat; policy accept;\n    ip saddr {}/30 oifname != \"{interface}\" masquerade\n  }}\n}}\n",
        subnet.machine()
    );
    Run::root("nft").args(["-f", "-"]).input(rules).output()?;
    enable_forwarding()
}

/// Takes our rules away; the interface went with the machine.
pub(super) fn disconnect(name: Name) -> Result<()> {
    let table = table(name);
    if Run::root("nft")
        .args(["list", "table", "ip", &table])
        .succeeds()
    {
        Run::root("nft")
            .args(["delete", "table", "ip", &table])
            .output()?;
    }
    Ok(())
}

fn table(name: Name) -> String {
    format!("observastack_{}", name.text())
}

/// Forwarding is the host's setting: what it was is written down before it is changed.
fn enable_forwarding() -> Result<()> {
    if fs::read_to_string(FORWARDING)?.trim() == "1" {
        return Ok(());
    }
    Run::root("install")
        .args([
            "-D",
            "-m",
            "644",
            "/dev/stdin",
            &format!("{ROOT_STATE}/ip_forward"),
        ])
        .input("0\n")
        .output()?;
    set_forwarding("1")
}

/// Puts the host's setting back, if we changed it.
pub(super) fn restore_forwarding() -> Result<()> {
    match fs::read_to_string(format!("{ROOT_STATE}/ip_forward")) {
        Ok(before) => set_forwarding(before.trim()),
        Err(_) => Ok(()),
    }
}

fn set_forwarding(value: &str) -> Result<()> {
    Run::root("tee")
        .arg(FORWARDING)
        .input(value)
        .output()
        .map(drop)
}
