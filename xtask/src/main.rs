//! The only build driver: `cargo xtask VERB` builds the eBPF programs and the package, brings the lab up and down, and runs every test.

#![forbid(unsafe_code)]

mod apt;
mod build_ebpf;
mod debian;
mod fingerprint;
mod initramfs;
mod kernels;
mod lock;
mod paths;
mod qemu;
mod results;
mod run;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, installs and tests ObservaStack.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile the eBPF programs into the target directory's bpf/observastack.bpf.o
    BuildEbpf,
    /// Run the kernel tests on Debian's stock kernels in QEMU
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::BuildEbpf => build_ebpf::build().map(drop),
        Verb::Vm(args) => vm::run(&args).and_then(|totals| {
            println!("{totals}");
            if totals.failed > 0 {
                anyhow::bail!("{} tests failed", totals.failed)
            }
            Ok(())
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
