//! The only build driver: `cargo xtask VERB` builds the eBPF programs and the package, brings the lab up and down, and runs every test.

#![forbid(unsafe_code)]

mod apt;
mod bench;
mod build_ebpf;
mod debian;
mod drills;
mod e2e;
mod fingerprint;
mod guest_tools;
mod initramfs;
mod interop;
mod kernels;
mod lint;
mod lock;
mod machine;
mod package;
mod paths;
mod playbook;
mod processes;
mod progress;
mod python;
mod qemu;
mod reach;
mod results;
mod run;
mod test;
mod toolchain;
mod unit;
mod up;
mod vm;
mod vm_lane;

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
    /// Bring the lab up on a machine made for it, or bring it up to date
    Up(up::Args),
    /// Remove everything that `up` and the tests made
    Down {
        /// The caches too: images, kernels, tools
        #[arg(long)]
        purge: bool,
    },
    /// A root shell in the lab, or one command there
    Shell {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run observastack-ctl in the lab
    // Its own --help is meant, not xtask's.
    #[command(disable_help_flag = true)]
    Ctl {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// What runs where
    Status,
    /// Build everything and make one .deb in dist/
    Package,
    /// Run the tests: all of them, or some lanes
    Test(test::Args),
    /// Measure the lab that `up` has made, beside references
    Bench(bench::Args),
    /// Run the kernel tests on Debian's stock kernels in QEMU
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::BuildEbpf => build_ebpf::build().map(|_| ExitCode::SUCCESS),
        Verb::Up(args) => up::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Down { purge } => up::down(purge).map(|()| ExitCode::SUCCESS),
        Verb::Shell { command } => reach::shell(&command),
        Verb::Ctl { args } => reach::ctl(&args),
        Verb::Status => reach::status(),
        Verb::Package => package::build().map(|_| ExitCode::SUCCESS),
        Verb::Test(args) => Ok(test::run(&args)),
        Verb::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Vm(args) => vm::run(&args).map(|totals| totals.conclude()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
