//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use observastack_loader::observer::Probe;
use observastack_spec::kernel::OBSERVER_SOCKET;

/// Kernel telemetry of the lab's units: Prometheus metrics, and an API on a Unix socket
#[derive(Clone, Debug, Parser)]
#[command(name = "observastack-observer", version)]
pub(crate) struct Args {
    /// The eBPF object with the probes
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/lib/observastack/ebpf/observer.bpf.o"
    )]
    pub(crate) object: PathBuf,
    /// Where the unified cgroup hierarchy is mounted
    #[arg(long, value_name = "DIRECTORY", default_value = "/sys/fs/cgroup")]
    pub(crate) cgroup_root: PathBuf,
    /// Slices whose units are observed; everything else is `other`
    #[arg(long = "slice", value_name = "SLICE", default_values_t = ["observastack-sut.slice".to_owned(), "observastack-control.slice".to_owned()])]
    pub(crate) slices: Vec<String>,
    /// Probes that are not on from the start, although they are cheap
    #[arg(long = "without", value_name = "PROBE", value_parser = probe)]
    pub(crate) without: Vec<Probe>,
    /// The socket of the API
    #[arg(long, value_name = "PATH", default_value = OBSERVER_SOCKET)]
    pub(crate) socket: PathBuf,
    /// Serve what is measured to Prometheus at this address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8306")]
    pub(crate) metrics: SocketAddr,
}

fn probe(name: &str) -> Result<Probe, String> {
    Probe::named(name).ok_or_else(|| {
        let names: Vec<_> = Probe::ALL.iter().map(|probe| probe.name()).collect();
        format!("there is no such probe; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_unknown_probe_is_answered_with_those_that_there_are() {
        let error = Args::try_parse_from(["observer", "--without", "cpu"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("run-queue") && text.contains("cpu"), "{text}");
        assert_eq!(error.exit_code(), 2);
    }
}
