//! The command line.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Parser, Subcommand};

/// Carries out faults for ObservaStack: listens on a Unix socket, puts rules into the kernel.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    /// The administrator's configuration; a file that does not exist means the defaults.
    #[arg(long, default_value = "/etc/observastack/injector.json")]
    pub(crate) config: PathBuf,
    /// The Unix socket to listen on.
    #[arg(long, global = true, default_value = observastack_spec::api::INJECTOR_SOCKET)]
    pub(crate) socket: PathBuf,
    /// The compiled eBPF programs.
    #[arg(long, default_value = "/usr/lib/observastack/ebpf/observastack.bpf.o")]
    pub(crate) object: PathBuf,
    /// Where the unified cgroup hierarchy is mounted.
    #[arg(long, default_value = "/sys/fs/cgroup")]
    pub(crate) cgroup_root: PathBuf,
    /// The group whose members may use the socket, beside root.
    #[arg(long, default_value = "observastack")]
    pub(crate) group: String,
    /// Where the last fault's id, the journal of changes and the panic file are kept.
    #[arg(long, global = true, default_value = "/var/lib/observastack/injector")]
    pub(crate) state_dir: PathBuf,
    /// Where the guard shows that it is alive.
    #[arg(long, global = true, default_value = "/run/observastack/guard")]
    pub(crate) guard_dir: PathBuf,
    /// Where to answer Prometheus; `none` for nowhere.
    #[arg(long, default_value = "127.0.0.1:8301")]
    pub(crate) metrics: MetricsAddress,
    /// Print what this kernel can do, as JSON, and exit.
    #[arg(long)]
    pub(crate) probe: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the program does instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch over journalled changes: revert what is overdue, and everything when the injector is dead or frozen.
    Guard(Guard),
    /// Revert journalled changes as root, whether an injector is alive or not.
    Revert(Revert),
    /// Burn CPU until standard input closes or falls silent: started by the injector, inside a target's cgroup.
    #[command(hide = true)]
    Stress(Stress),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Guard {}

#[derive(Debug, clap::Args)]
pub(crate) struct Revert {
    /// The fault whose changes are reverted.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) id: Option<u64>,
    /// Revert every journalled change.
    #[arg(long)]
    pub(crate) all: bool,
    /// Also refuse new faults until the panic is lifted; an injector that hangs is killed, and the kernel lets go.
    #[arg(long, requires = "all", conflicts_with = "id")]
    pub(crate) panic: bool,
    /// Do nothing while an injector renews its lease.
    #[arg(long, conflicts_with = "panic")]
    pub(crate) if_lapsed: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Stress {
    /// The cgroup to enter before any CPU is burnt.
    #[arg(long)]
    pub(crate) cgroup: Option<PathBuf>,
    /// How much of one CPU to use, in percent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) percent: u32,
    /// When to stop, in nanoseconds of `CLOCK_MONOTONIC`.
    #[arg(long)]
    pub(crate) end_ns: u64,
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsAddress(pub(crate) Option<SocketAddr>);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| "use an address and a port, such as 127.0.0.1:8301, or none".to_owned())?;
        if address.ip().is_loopback() {
            Ok(Self(Some(address)))
        } else {
            Err(
                "use an address of the loopback device: the endpoint asks nobody who they are"
                    .to_owned(),
            )
        }
    }
}
