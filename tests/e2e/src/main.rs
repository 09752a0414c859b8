//! The end-to-end tests: they run as root inside the machine that the playbook has made a lab of, against the installed
//! units, and believe tools that we did not write (curl, ss, nstat, psql, strace, bpftool, systemctl, journalctl) more
//! than our own counters.
//!
//! They kill, stop, misconfigure and break everything of the lab's, one test after the other, and put it back after
//! each: run them on a machine that is there for nothing else. `cargo xtask test` does.
//!
//! | file | what it is |
//! |---|---|
//! | [`command`], [`wait`], [`clock`] | running programs with a time limit, waiting for conditions |
//! | [`lab`], [`systemd`], [`journal`] | the lab, its units and what they log |
//! | [`collector`] | what the lab's collector has stored |
//! | [`agents`] | processes of ours inside units of the target slice, which see faults from a client's side |
//! | [`ends`] | the ways in which every fault must end |
//! | [`machine`] | what faults may change on the machine, as a whole: the same before and after |
//! | [`http`], [`netstat`], [`statistics`] | requests, the network stack's own counts, how far chance may go |
//! | [`story`], [`figures`] | what surrounds every test: the repair afterwards, logs when it fails, what was measured |
//! | [`stories`] | the tests, one file per story |
#![forbid(unsafe_code)]

mod agents;
mod clock;
mod collector;
mod command;
mod ends;
mod figures;
mod http;
mod journal;
mod lab;
mod machine;
mod netstat;
mod statistics;
mod stories;
mod story;
mod systemd;
mod wait;

use std::process::ExitCode;

use clap::Parser;

/// Runs the end-to-end tests one after the other; exit 101 where one fails.
#[derive(Parser)]
#[command(name = "observastack-e2e")]
struct Options {
    /// The kind of machine that the lab is on
    #[arg(long, value_enum, default_value = "nspawn")]
    lane: stories::Lane,
    #[command(flatten)]
    harness: libtest_mimic::Arguments,
}

fn main() -> ExitCode {
    // The tests start this program again, inside units of the target slice.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((verb, rest)) = arguments.split_first()
        && let Some(code) = agents::main(verb, rest)
    {
        return code;
    }
    let Options {
        lane,
        harness: mut options,
    } = Options::parse();
    if lane != stories::Lane::Nspawn {
        ends::allow_for_emulation();
    }
    // They share one lab.
    options.test_threads = Some(1);
    if !options.list
        && let Err(error) = lab::prepare()
    {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&options, stories::all(lane));
    figures::print();
    if let Err(error) = lab::leave() {
        eprintln!("warning: {error:#}");
    }
    conclusion.exit_code()
}
