//! `inject disk-delay`.

use clap::Args;
use observastack_spec::{Fault, HumanDuration, faults::DiskDelay};

use super::common::{Held, Wanted};

/// The unit's data volume gets slow: reads, writes and flushes apart, at least one of them.
///
/// The volume's device-mapper table is changed to dm-delay. Reads that the page cache answers are as fast as ever.
///
/// Needs a data volume on device-mapper, which the playbook can put our PostgreSQL on, and dm-delay.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject disk-delay --unit observastack-postgresql --flush 200ms --for 2m"
)]
pub(crate) struct DiskDelayArgs {
    #[command(flatten)]
    held: Held,
    /// How much longer reads take: 1ms to 10s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    read: Option<HumanDuration>,
    /// How much longer writes take: 1ms to 10s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    write: Option<HumanDuration>,
    /// How much longer flushes take: 1ms to 10s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    flush: Option<HumanDuration>,
}

impl From<DiskDelayArgs> for Wanted {
    fn from(args: DiskDelayArgs) -> Self {
        let fault = Fault::DiskDelay(DiskDelay {
            read: args.read,
            write: args.write,
            flush: args.flush,
        });
        args.held.of(fault)
    }
}
