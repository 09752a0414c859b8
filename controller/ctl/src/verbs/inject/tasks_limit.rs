//! `inject tasks-limit`.

use clap::Args;
use observastack_spec::{Fault, faults::TasksLimit};

use super::common::{Held, Wanted, whole};

/// The unit can have at most so many processes and threads.
///
/// The run-time property TasksMax= of systemd (pids.max of the cgroup): beyond it clone(2) fails with EAGAIN. Tasks that
/// the unit has already stay. Needs the pids controller.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject tasks-limit --unit observastack-postgresql --limit 10 --for 2m"
)]
pub(crate) struct TasksLimitArgs {
    #[command(flatten)]
    held: Held,
    /// The limit: at least 1.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<u64>(1..=u64::MAX))]
    limit: u64,
}

impl From<TasksLimitArgs> for Wanted {
    fn from(args: TasksLimitArgs) -> Self {
        let fault = Fault::TasksLimit(TasksLimit { limit: args.limit });
        args.held.of(fault)
    }
}
