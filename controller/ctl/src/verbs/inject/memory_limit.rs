//! `inject memory-limit`.

use clap::Args;
use observastack_spec::{Bytes, Fault, faults::MemoryLimit};

use super::common::{Held, Wanted};

/// The unit gets at most so much memory.
///
/// The run-time property MemoryMax= of systemd (memory.max of the cgroup). A limit below what the unit uses makes the
/// kernel reclaim, then kill: that a process was killed cannot be reverted, the limit is. Needs the memory controller.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject memory-limit --unit observastack-inventory --limit 64MiB --for 2m"
)]
pub(crate) struct MemoryLimitArgs {
    #[command(flatten)]
    held: Held,
    /// The limit: at least 1MiB, such as 64MiB.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    limit: Bytes,
}

impl From<MemoryLimitArgs> for Wanted {
    fn from(args: MemoryLimitArgs) -> Self {
        let fault = Fault::MemoryLimit(MemoryLimit { limit: args.limit });
        args.held.of(fault)
    }
}
