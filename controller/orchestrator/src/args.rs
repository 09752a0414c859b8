//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use observastack_spec::{api::INJECTOR_SOCKET, drill::score::Mode};

/// Runs drills, and answers for them over HTTP on this machine
#[derive(Clone, Debug, Parser)]
#[command(name = "observastack-controller", version)]
pub(crate) struct Args {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The file with a token for each role
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/observastack/tokens.json"
    )]
    pub(crate) tokens: PathBuf,
    /// Where runs are kept
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/lib/observastack/controller"
    )]
    pub(crate) state_dir: PathBuf,
    /// Folders of scenarios; of two with the same id, the later folder's counts
    #[arg(long = "scenarios", value_name = "FOLDER", default_values = ["/usr/lib/observastack/scenarios", "/etc/observastack/scenarios"])]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Whether a learner could look into the sealed parts: then the score is advice
    #[arg(long, value_enum, env = "OBSERVASTACK_LEARNER", default_value = "open")]
    pub(crate) mode: Learner,
    /// Where services have their admin sockets
    #[arg(long, value_name = "FOLDER", default_value = "/run/observastack")]
    pub(crate) runtime_directory: PathBuf,
    /// The injector's socket
    #[arg(long, value_name = "PATH", default_value = INJECTOR_SOCKET)]
    pub(crate) injector: PathBuf,
    /// The load generator's socket
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/observastack/loadgen/loadgen.sock"
    )]
    pub(crate) loadgen: PathBuf,
    /// Prometheus
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9190")]
    pub(crate) prometheus: SocketAddr,
    /// The gateway
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) gateway: SocketAddr,
    /// The shop's database
    #[arg(
        long,
        value_name = "CONNECTION",
        default_value = "host=/run/observastack/postgresql port=5440 dbname=shop user=controller application_name=observastack-controller"
    )]
    pub(crate) database: String,
}

/// What a learner may do on this machine.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Learner {
    /// Everything
    Open,
    /// What the user `learner` may
    Assessed,
}

impl Learner {
    pub(crate) const fn mode(self) -> Mode {
        match self {
            Self::Open => Mode::Open,
            Self::Assessed => Mode::Assessed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
