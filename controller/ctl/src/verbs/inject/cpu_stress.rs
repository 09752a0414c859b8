//! `inject cpu-stress`.

use clap::Args;
use observastack_spec::{Fault, Percent, faults::CpuStress};

use super::common::{Held, Wanted, whole};

/// Busy processes inside the unit's own cgroup take CPU time from it.
///
/// They count against the unit's own quota and weight, as a runaway thread of the service would. They end with the fault,
/// and with the unit.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject cpu-stress --unit observastack-api@1 --workers 2 --load 80% --for 2m"
)]
pub(crate) struct CpuStressArgs {
    #[command(flatten)]
    held: Held,
    /// How many busy processes: 1 to 64.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<u32>(1..=64))]
    workers: u32,
    /// How busy each is: 1% to 100%.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "100%",
        allow_hyphen_values = true
    )]
    load: Percent,
}

impl From<CpuStressArgs> for Wanted {
    fn from(args: CpuStressArgs) -> Self {
        let fault = Fault::CpuStress(CpuStress {
            workers: args.workers,
            load: args.load,
        });
        args.held.of(fault)
    }
}
