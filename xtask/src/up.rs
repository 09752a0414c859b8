//! `cargo xtask up`: from a checkout to a running lab.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::machine::{self, Kind, Name, State, nspawn, qemu};
use crate::{package, playbook};

/// Where the lab goes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Use a QEMU virtual machine with Debian's kernel instead of systemd-nspawn
    #[arg(long, conflicts_with = "host")]
    vm: bool,
    /// Install onto a machine of yours, reached with ssh: USER@ADDRESS or USER@ADDRESS:PORT
    #[arg(long, value_name = "USER@ADDRESS")]
    host: Option<String>,
    /// The virtual machine's processors
    #[arg(long, default_value_t = 2, requires = "vm", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// The virtual machine's memory in MiB
    #[arg(long, default_value_t = 3072, requires = "vm", value_parser = clap::value_parser!(u32).range(1024..=65536))]
    memory: u32,
}

/// Numbered steps with their times.
pub(crate) struct Stages {
    started: Instant,
    number: usize,
    of: usize,
}

impl Stages {
    /// So many of them.
    pub(crate) fn new(of: usize) -> Self {
        Self {
            started: Instant::now(),
            number: 0,
            of,
        }
    }

    /// Does the next one.
    pub(crate) fn next<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.number += 1;
        eprintln!("==> [{}/{}] {what}", self.number, self.of);
        let started = Instant::now();
        let done =
            work().with_context(|| format!("stage {} of {} ({what})", self.number, self.of))?;
        eprintln!(
            "    [{}/{}] took {:.1} s",
            self.number,
            self.of,
            started.elapsed().as_secs_f64()
        );
        Ok(done)
    }

    /// All of it, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// Brings the lab up, or up to date.
pub(crate) fn run(args: &Args) -> Result<()> {
    let name = Name::Lab;
    let _lock = name.lock()?;
    let kind = if args.host.is_some() {
        Kind::Host
    } else if args.vm {
        Kind::Vm
    } else {
        Kind::Nspawn
    };
    let host = args.host.as_deref().map(parse_host).transpose()?;
    if let Some(state) = State::load(name)? {
        fits(&state, kind, host.as_ref())?;
    }
    let mut stages = Stages::new(5);
    stages.next("this machine's packages", || {
        if kind == Kind::Nspawn {
            nspawn::host_packages()
        } else {
            Ok(())
        }
    })?;
    let deb = stages.next("programs and package", package::build)?;
    let state = stages.next("machine", || match (host, kind) {
        (Some(host), _) => reach(name, host),
        (None, Kind::Vm) => qemu::start(
            name,
            qemu::Size {
                cpus: args.cpus,
                memory_mib: args.memory,
            },
            |_| Ok(()),
        ),
        (None, _) => nspawn::start(name),
    })?;
    let recap = stages.next("installation", || {
        playbook::install(name, &state, &deb, "playbook install.yml")
    })?;
    eprintln!("    {} changes", recap.changed);
    stages.next("health", || {
        state
            .ssh(name, "sudo -n observastack-ctl status")
            .limit_s(120)
            .output()
            .map(|status| println!("{status}"))
    })?;
    println!("\nThe lab is up after {:.0} s.\n", stages.seconds());
    println!("  shop              {}/products", state.shop);
    println!(
        "  machine           ssh {}@{} (cargo xtask shell)\n",
        state.user, state.address
    );
    println!("Try next:");
    println!("  cargo xtask ctl inject packet-loss --unit observastack-api@1 --port 8200 --for 2m");
    println!(
        r#"  curl -i -H 'content-type: application/json' -d '{{"customer_id":1,"lines":[{{"sku":"P00001","quantity":1}}]}}' {}/orders   # every second order fails"#,
        state.shop
    );
    println!("  cargo xtask ctl faults");
    Ok(())
}

/// Refuses to bring up a second lab: the first one's address would be forgotten, and `down` would leave it behind.
fn fits(there: &State, kind: Kind, host: Option<&State>) -> Result<()> {
    if there.kind != kind {
        bail!("there is a lab of another kind already: run cargo xtask down first");
    }
    // Another user of the same machine is fine.
    match host {
        Some(host) if (&host.address, host.port) != (&there.address, there.port) => bail!(
            "--host {}@{}:{}: there is a lab on {}@{}:{} already: run cargo xtask down first",
            host.user,
            host.address,
            host.port,
            there.user,
            there.address,
            there.port
        ),
        _ => Ok(()),
    }
}

/// What `--host` says.
fn parse_host(host: &str) -> Result<State> {
    let (user, address) = host
        .split_once('@')
        .with_context(|| format!("--host {host}: expected USER@ADDRESS"))?;
    let (address, port) = match address.rsplit_once(':') {
        Some((address, port)) => (
            address,
            port.parse()
                .with_context(|| format!("--host {host}: {port} is not a port"))?,
        ),
        None => (address, 22),
    };
    Ok(State {
        kind: Kind::Host,
        user: user.into(),
        address: address.into(),
        port,
        shop: format!("http://{address}:8000"),
    })
}

/// A machine that is there already: only ssh is needed.
fn reach(name: Name, state: State) -> Result<State> {
    std::fs::create_dir_all(name.state_dir())?;
    state
        .ssh(name, "true")
        .limit_s(30)
        .output()
        .context("ssh with your key has to work without questions: try it by hand first")?;
    state.save(name)?;
    Ok(state)
}

/// `cargo xtask down`: takes back everything that `up` and the tests made.
pub(crate) fn down(purge: bool) -> Result<()> {
    for name in Name::ALL {
        let _lock = name.lock()?;
        take_down(name)?;
    }
    std::fs::remove_dir_all(crate::paths::root().join(".observastack")).ok();
    if purge {
        let cache = crate::paths::cache()?;
        crate::debian::remove(&cache)?;
        eprintln!("    removed {}", cache.display());
    }
    eprintln!("The lab is gone. Packages that were installed on this machine with apt stay.");
    Ok(())
}

/// Ends one machine and removes its files.
pub(crate) fn take_down(name: Name) -> Result<()> {
    let state = State::load(name).unwrap_or(None);
    if let Some(state) = state.filter(|state| state.kind == Kind::Host) {
        eprintln!("==> removing the lab from {}@{}", state.user, state.address);
        playbook::uninstall(name, &state)?;
        std::fs::remove_dir_all(name.state_dir())?;
        return Ok(());
    }
    if name.root_dir().exists() || nspawn::is_running(name) || qemu::is_running(name) {
        eprintln!("==> removing the machine {}", name.machine());
        qemu::stop(name)?;
        nspawn::stop(name)?;
        machine::remove_files(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_is_refused_until_the_first_lab_is_down() {
        let there = parse_host("root@a.example").expect("a host");
        for other in ["root@b.example", "root@a.example:2222"] {
            let other = parse_host(other).expect("a host");
            let refusal = fits(&there, Kind::Host, Some(&other)).expect_err("another machine");
            let refusal = refusal.to_string();
            assert!(refusal.contains("root@a.example:22 already"), "{refusal}");
            assert!(refusal.contains("cargo xtask down"), "{refusal}");
        }
        assert!(fits(&there, Kind::Nspawn, None).is_err());
    }

    #[test]
    fn the_same_host_can_be_brought_up_again() {
        let there = parse_host("root@a.example").expect("a host");
        for same in ["root@a.example", "admin@a.example:22"] {
            let same = parse_host(same).expect("a host");
            fits(&there, Kind::Host, Some(&same)).expect("the same machine");
        }
    }
}
