//! `inject fd-limit`.

use clap::Args;
use observastack_spec::{Fault, faults::FdLimit};

use super::common::{Held, Wanted, whole};

/// Each of the unit's processes can have at most so many file descriptors.
///
/// The soft limit of every process of the unit (prlimit): beyond it open(2), socket(2) and accept(2) fail with EMFILE.
/// Descriptors that are open stay open. A process that raises its own limit gets around it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject fd-limit --unit observastack-gateway --limit 32 --for 2m"
)]
pub(crate) struct FdLimitArgs {
    #[command(flatten)]
    held: Held,
    /// The limit: 0 to 1048576.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<u64>(0..=1_048_576))]
    limit: u64,
}

impl From<FdLimitArgs> for Wanted {
    fn from(args: FdLimitArgs) -> Self {
        let fault = Fault::FdLimit(FdLimit { limit: args.limit });
        args.held.of(fault)
    }
}
