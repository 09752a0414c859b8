//! The kernel tests: every fault, armed through the loader, against raw clients in cgroups made for the test, and the
//! kernel's counts compared with what the clients saw by themselves.
//!
//! A program with a harness of its own, because it runs as all there is in a guest (`cargo xtask vm` boots Debian's
//! stock kernels), and also on a machine's own kernel. Needs root:
//!
//! ```text
//! cargo xtask vm                # both stock kernels; `cargo xtask vm --kernel 6.1 units::` runs a part
//! target/release/observastack-vm-tests --object target/bpf/observastack.bpf.o --kernel native --cgroup-root /sys/fs/cgroup/unified
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | [`expect`] | what each kernel must be able to do, and how long things may take there |
//! | [`scene`] | a test's slice, units and loader, and the check that nothing of them is left |
//! | [`agent`], [`client`] | a client process inside a unit, from the test's side and from its own |
//! | [`holder`] | a process that holds faults until it is killed |
//! | [`rules`], [`traffic`], [`streams`], [`wait`] | rules with their predicted fates, packets from outside, TCP streams, waiting |
//! | [`netstat`] | the machine's own counters of its network |
//! | [`qdisc`] | the queueing disciplines that some faults need |
//! | [`tool`] | tools that we did not write, and disks for them |
//! | [`cases`] | the tests, one file per story |
//! | [`benches`] | measurements that need a guest |
#![forbid(unsafe_code)]

mod agent;
mod benches;
mod cases;
mod cgroups;
mod client;
mod expect;
mod holder;
mod netstat;
mod qdisc;
mod rules;
mod scene;
mod streams;
mod tool;
mod traffic;
mod wait;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{expect::Kernel, scene::Lab};

/// Runs the kernel tests one after the other; exit 101 where one fails.
#[derive(Parser)]
#[command(name = "observastack-vm-tests")]
struct Options {
    /// The eBPF object under test
    #[arg(long)]
    object: PathBuf,
    /// The kernel whose expectations hold
    #[arg(long, value_enum)]
    kernel: Kernel,
    /// Where the unified cgroup hierarchy is mounted
    #[arg(long, default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// Measure instead
    #[arg(long)]
    measure: bool,
    #[command(flatten)]
    harness: libtest_mimic::Arguments,
}

fn main() -> ExitCode {
    // The tests start this program again: as a client inside a unit, and as a process that holds faults until it dies.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [client::VERB, cgroup] => return client::run(cgroup),
        [client::NOTHING] => return ExitCode::SUCCESS,
        [holder::VERB, arguments @ ..] => return holder::run(arguments),
        _ => {}
    }
    let mut options = Options::parse();
    // Clients share the loopback device, and its counters are the host's.
    options.harness.test_threads = Some(1);
    let lab = Lab {
        object: options.object,
        kernel: options.kernel,
        cgroup_root: options.cgroup_root,
    };
    let trials = if options.measure {
        benches::all(&lab)
    } else {
        cases::all(&lab)
    };
    libtest_mimic::run(&options.harness, trials).exit_code()
}
