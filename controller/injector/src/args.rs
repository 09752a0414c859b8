//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Carries out faults for ObservaStack: listens on a Unix socket, puts rules into the kernel.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    /// The administrator's configuration; a file that does not exist means the defaults.
    #[arg(long, default_value = "/etc/observastack/injector.json")]
    pub(crate) config: PathBuf,
    /// The Unix socket to listen on.
    #[arg(long, default_value = observastack_spec::api::INJECTOR_SOCKET)]
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
    /// Where the last fault's id is kept, so that ids go on after a restart.
    #[arg(long, default_value = "/var/lib/observastack/injector")]
    pub(crate) state_dir: PathBuf,
    /// Print what this kernel can do, as JSON, and exit.
    #[arg(long)]
    pub(crate) probe: bool,
}
