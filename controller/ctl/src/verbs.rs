//! One file per verb.

pub(crate) mod clear;
pub(crate) mod completions;
pub(crate) mod config;
mod counting;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod faults;
pub(crate) mod inject;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod mcp;
pub(crate) mod metrics;
pub(crate) mod off_cpu;
pub(crate) mod panic;
pub(crate) mod probes;
pub(crate) mod profile;
pub(crate) mod status;
pub(crate) mod syscalls;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod traces;

use std::process::ExitCode;

use crate::{
    args::{Args, Verb},
    client::Client,
    collector::Collector,
    failure::Failure,
};

/// Does what was asked.
pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::Io {
        what: "cannot start".to_owned(),
        source,
    })?;
    let ended = runtime.block_on(dispatch(args));
    // Not waiting for who reads standard input, which nobody can be told to stop.
    runtime.shutdown_background();
    ended
}

async fn dispatch(args: Args) -> Result<ExitCode, Failure> {
    let Args {
        json,
        injector,
        observer,
        runtime_directory,
        collector,
        verb,
    } = args;
    let places = mcp::Places {
        observer: observer.clone(),
        collector,
    };
    let injector = Client::injector(&injector);
    let observer = Client::observer(&observer);
    let collector = Collector::new(collector);
    match verb {
        Verb::Inject(inject) => inject::run(*inject, &injector, json).await,
        Verb::Faults => faults::run(&injector, json).await,
        Verb::Clear(clear) => clear::run(&clear, &injector, json).await,
        Verb::Panic(panic) => panic::run(&panic, &injector, json).await,
        Verb::Status => status::run(&injector, &runtime_directory, json).await,
        Verb::Doctor => doctor::run(&injector, &observer, json).await,
        Verb::Top(top) => top::run(&top, &observer, json).await,
        Verb::Syscalls(syscalls) => syscalls::run(&syscalls, &observer, json).await,
        Verb::OffCpu(off_cpu) => off_cpu::run(&off_cpu, &observer, json).await,
        Verb::Probes(probes) => probes::run(&probes, &observer, json).await,
        Verb::Logs(logs) => logs::run(&logs, &collector, json).await,
        Verb::Metrics(metrics) => metrics::run(&metrics, json).await,
        Verb::Traces(traces) => traces::run(&traces, &collector, json).await,
        Verb::Trace(trace) => trace::run(&trace, &collector, &observer, json).await,
        Verb::Profile(profile) => profile::run(&profile, &collector, &observer, json).await,
        Verb::Drill(drill) => drill::run(&drill, json).await,
        Verb::Mcp(mcp) => mcp::run(mcp, places).await,
        Verb::Config(config) => config::run(config, &runtime_directory, json).await,
        Verb::Completions(completions) => Ok(completions::run(&completions)),
        Verb::Man(man) => man::run(&man),
    }
}
