//! `inject disk-error`.

use clap::Args;
use observastack_spec::{Fault, HumanDuration, faults::DiskError};

use super::common::{Held, Wanted};

/// Requests to the unit's data volume fail with EIO, all the time or in turns.
///
/// The volume's device-mapper table is changed to dm-flakey. A file system that could not write its journal may turn
/// read-only and stay so after the fault: then restart the unit.
///
/// Needs a data volume on device-mapper, which the playbook can put our PostgreSQL on, and dm-flakey.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject disk-error --unit observastack-postgresql --writes --healthy 10s --failing 2s --for 1m"
)]
pub(crate) struct DiskErrorArgs {
    #[command(flatten)]
    held: Held,
    /// Reads fail; both fail where neither --reads nor --writes is given.
    #[arg(long)]
    reads: bool,
    /// Writes fail.
    #[arg(long)]
    writes: bool,
    /// How long the volume works between two failing times, in whole seconds; fails all the time without it.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    healthy: Option<HumanDuration>,
    /// How long it fails then, in whole seconds.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    failing: Option<HumanDuration>,
}

impl From<DiskErrorArgs> for Wanted {
    fn from(args: DiskErrorArgs) -> Self {
        let fault = Fault::DiskError(DiskError {
            reads: args.reads,
            writes: args.writes,
            healthy: args.healthy,
            failing: args.failing,
        });
        args.held.of(fault)
    }
}
