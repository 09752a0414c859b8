//! The command line's arguments; each verb's own are in its file.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    collector,
    verbs::{
        clear, completions, config, drill, inject, logs, man, mcp, metrics, off_cpu, panic, probes,
        profile, syscalls, top, trace, traces,
    },
};

/// The variable that has the observer's socket.
pub(crate) const OBSERVER_VARIABLE: &str = "OBSERVASTACK_OBSERVER_SOCKET";
/// The variable that has the collector's address.
pub(crate) const COLLECTOR_VARIABLE: &str = "OBSERVASTACK_COLLECTOR";

/// Break, watch and repair the ObservaStack lab.
#[derive(Debug, Parser)]
#[command(
    name = "observastack-ctl",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 it failed, 2 the request was wrong."
)]
pub(crate) struct Args {
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The injector's socket.
    #[arg(
        long,
        global = true,
        env = "OBSERVASTACK_INJECTOR_SOCKET",
        default_value = observastack_spec::api::INJECTOR_SOCKET,
        hide_env = true
    )]
    pub(crate) injector: PathBuf,
    /// The observer's socket.
    #[arg(
        long,
        global = true,
        env = OBSERVER_VARIABLE,
        default_value = observastack_spec::kernel::OBSERVER_SOCKET,
        hide_env = true
    )]
    pub(crate) observer: PathBuf,
    /// Where the services' admin sockets are.
    #[arg(long, global = true, default_value = "/run/observastack", hide = true)]
    pub(crate) runtime_directory: PathBuf,
    /// Where the collector answers questions.
    #[arg(
        long,
        global = true,
        env = COLLECTOR_VARIABLE,
        default_value = collector::ADDRESS,
        hide_env = true
    )]
    pub(crate) collector: SocketAddr,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Inject(Box<inject::Inject>),
    /// List faults: active ones, and the last that have ended.
    Faults,
    /// End faults now.
    Clear(clear::Clear),
    Panic(panic::Panic),
    /// Show the lab's units, their health and versions, and active faults.
    Status,
    /// Show what this kernel can do, and which faults and probes work on it.
    Doctor,
    Top(top::Top),
    Syscalls(syscalls::Syscalls),
    OffCpu(off_cpu::OffCpu),
    Probes(probes::Probes),
    Logs(logs::Logs),
    Metrics(metrics::Metrics),
    Traces(traces::Traces),
    Trace(trace::Trace),
    Profile(profile::Profile),
    Drill(drill::Drill),
    Mcp(mcp::Mcp),
    /// Read and change a service's configuration.
    Config(config::Config),
    /// Print a shell's completion script.
    Completions(completions::Completions),
    /// Write the man pages.
    #[command(hide = true)]
    Man(man::Man),
}
