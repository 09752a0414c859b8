//! `inject disk-fill`.

use clap::Args;
use observastack_spec::{Bytes, Fault, faults::DiskFill};

use super::common::{Held, Wanted};

/// The unit's data volume gets full.
///
/// A file takes the volume's free space: writes that need more fail with ENOSPC. Only on the unit's own data volume, never
/// on a file system that the machine needs; the file goes with the fault.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject disk-fill --unit observastack-postgresql --leave 1MiB --for 2m"
)]
pub(crate) struct DiskFillArgs {
    #[command(flatten)]
    held: Held,
    /// How much is left free.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "0",
        allow_hyphen_values = true
    )]
    leave: Bytes,
}

impl From<DiskFillArgs> for Wanted {
    fn from(args: DiskFillArgs) -> Self {
        let fault = Fault::DiskFill(DiskFill { leave: args.leave });
        args.held.of(fault)
    }
}
