//! Kernel telemetry: what the kernel sees of each unit, beside what the services say of themselves.
//!
//! ```text
//! programs ── maps ──> engine: the one thread that owns them ──┬──> report ──> api (GET /v1/kernel), families ──> metrics (GET /metrics), otlp
//!    └── ring buffer ──> engine: decode ──> happened ──────────┴──> api (GET /v1/events), journal and OTLP log records
//! cgroup files, list of sockets ──> cgroups, listeners ─────────┘
//! ```
//!
//! - [`engine`]: the thread, and how it is asked; [`report`]: what was counted, in the words of the API;
//! - [`cgroups`], [`listeners`]: what the kernel tells in files and lists rather than events;
//! - [`happened`]: rare things, one by one; [`traced`]: everything of a unit, on demand;
//! - [`profile`]: stacks of a unit, on demand; [`stacks`], [`maps`], [`kallsyms`]: names of their functions; [`pprof`], [`push`]: as others take them;
//! - [`families`]: the same as families of series; [`metrics`], [`otlp`]: those for Prometheus and for a collector ([`post`]);
//! - [`api`]: what can be asked for; [`run`]: the composition root.
#![forbid(unsafe_code)]

mod api;
mod args;
mod cgroups;
mod clock;
mod engine;
mod families;
mod happened;
mod kallsyms;
mod listeners;
mod maps;
mod metrics;
mod names;
mod otlp;
mod post;
mod pprof;
mod profile;
mod push;
mod report;
mod run;
mod stacks;
mod traced;

use std::process::ExitCode;

use clap::Parser as _;

/// The program; exit 2 for usage, 1 for failure.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    match run::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("observastack-observer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
