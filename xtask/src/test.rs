//! `cargo xtask test`: every test there is, in lanes that can be run one by one.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::results::Totals;
use crate::{drills, e2e, interop, lint, unit, vm, vm_lane};

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lane {
    /// Formatting, clippy, the crate graph, licences, shell scripts, playbooks, units
    Lint,
    /// Unit and property tests of the workspace
    Unit,
    /// The collector beside OpenTelemetry's SDK for Python and a receiver of another make
    Interop,
    /// The faults on Debian's stock kernels in QEMU
    Kernel,
    /// The installed lab in a systemd-nspawn machine of its own
    E2e,
    /// The installed lab in a QEMU machine with Debian's stock kernel, its database on a data volume
    Vm,
    /// Every drill, proven with three seeds, and the table of docs/drills.md: an hour and more, so only where it is asked for
    Drills,
    /// The drills that need a machine of its own, in QEMU: as long, and as much asked for
    DrillsVm,
}

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this lane; may be given several times
    #[arg(long, value_enum)]
    lane: Vec<Lane>,
    /// Leave the machines of the end-to-end and VM tests running afterwards (cargo xtask down removes it)
    #[arg(long)]
    keep: bool,
    /// Only tests, or drills, whose name contains this; the lint lane is left out then. `drills` is the lane of that name
    filter: Option<String>,
}

/// Runs the lanes, a failed one does not stop the next, and prints the totals as the last line.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.lane.is_empty() && args.filter.as_deref() == Some("drills") {
        return run(&Args {
            lane: vec![Lane::Drills],
            keep: args.keep,
            filter: None,
        });
    }
    let all = [
        Lane::Lint,
        Lane::Unit,
        Lane::Interop,
        Lane::Kernel,
        Lane::E2e,
        Lane::Vm,
        Lane::Drills,
        Lane::DrillsVm,
    ];
    let wanted = all.into_iter().filter(|lane| {
        let asked_for = args.lane.contains(lane);
        asked_for
            || (!matches!(lane, Lane::Drills | Lane::DrillsVm)
                && args.lane.is_empty()
                && !(args.filter.is_some() && *lane == Lane::Lint))
    });
    let filter = args.filter.as_deref();
    let mut summary = Vec::new();
    let mut totals = Totals::default();
    for lane in wanted {
        let (name, run): (_, &dyn Fn() -> Result<Totals>) = match lane {
            Lane::Lint => ("lint", &lint::run),
            Lane::Unit => ("unit", &|| unit::run(filter)),
            Lane::Interop => ("interop", &|| interop::run(filter)),
            Lane::Kernel => ("kernel", &|| vm::run(&vm::Args::all(args.filter.clone()))),
            Lane::E2e => ("e2e", &|| e2e::run(filter, args.keep)),
            Lane::Vm => ("vm", &|| vm_lane::run(filter, args.keep)),
            Lane::Drills => ("drills", &|| drills::run(filter, args.keep)),
            Lane::DrillsVm => ("drills-vm", &|| drills::run_in_vm(filter, args.keep)),
        };
        println!("==> lane {name}");
        let started = Instant::now();
        let of_lane = run().unwrap_or_else(|error| {
            // What a lane could not begin with is a failure of the lane, not of nothing.
            let mut totals = Totals::default();
            totals.fail(&format!("lane {name}"), &format!("{error:#}"));
            totals
        });
        summary.push(format!(
            "    lane {name}: {of_lane} in {:.0} s",
            started.elapsed().as_secs_f64()
        ));
        println!("{}", summary.last().map_or("", String::as_str));
        totals += of_lane;
    }
    if totals.is_empty() {
        let reason = format!("no test has a name with {:?} in it", filter.unwrap_or(""));
        totals.fail("the filter", &reason);
    }
    println!("==> all lanes\n{}", summary.join("\n"));
    totals.conclude()
}
