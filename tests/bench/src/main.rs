//! Benchmarks of an installed lab, run inside it as root, and of the fault engine ([`faults`]), which needs no lab. Each prints
//! a Markdown table, with a reference that was measured in turns with it in the same run: these machines are shared, and a
//! time alone means nothing.
#![forbid(unsafe_code)]

mod effect;
mod faults;
mod footprint;
mod injector;
mod load;
mod loadgen;
mod observer;
mod otlp;
mod overhead;
mod probe;
mod probes;
mod proxy;
mod stats;
mod turns;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Benchmarks of an installed lab, and of the fault engine.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How soon a fault acts after it was asked for, stops after it was cleared, and ends after `kill -9` and SIGSTOP.
    Effect(effect::Effect),
    /// What the attached programs cost per packet.
    Overhead(overhead::Overhead),
    /// What the lab's units hold in memory.
    Footprint,
    /// What telemetry costs the shop.
    Otlp(otlp::Otlp),
    /// How much load a core makes, and how punctually, beside other generators; needs no lab.
    Loadgen(loadgen::Loadgen),
    /// Everything of an installed lab, one after the other.
    All,
    /// What the fault engine costs and how exact it is, on this kernel; needs no lab.
    Faults(faults::Faults),
    /// What a probe of kernel telemetry costs an event, on this kernel; needs no lab.
    Probes(probes::Probes),
    /// What kernel telemetry costs the shop.
    Observer(observer::Observer),
    /// Internal: the client in the unit under test.
    #[command(hide = true)]
    Probe(probe::Probe),
    /// Internal: the packet exchange in the unit under test.
    #[command(hide = true)]
    Exchange(overhead::Exchange),
    /// Internal: a process that holds a rule until it is killed.
    #[command(hide = true)]
    Hold(faults::Hold),
    /// Internal: a TCP proxy.
    #[command(hide = true)]
    Proxy(proxy::Proxy),
    /// Internal: pieces of work in the unit under test.
    #[command(hide = true)]
    Work(worker::Work),
}

fn main() -> ExitCode {
    let done = match Args::parse().what {
        What::Effect(effect) => effect.run(),
        What::Overhead(overhead) => overhead.run(),
        What::Footprint => footprint::run(),
        What::All => footprint::run()
            .and_then(|()| effect::Effect::default().run())
            .and_then(|()| overhead::Overhead::default().run()),
        What::Otlp(otlp) => otlp.run(),
        What::Loadgen(loadgen) => loadgen.run(),
        What::Probe(probe) => probe.run(),
        What::Probes(probes) => probes.run(),
        What::Observer(observer) => observer.run(),
        What::Faults(faults) => faults.run(),
        What::Exchange(exchange) => exchange.run(),
        What::Hold(hold) => hold.run(),
        What::Proxy(proxy) => proxy.run(),
        What::Work(work) => work.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
