//! `inject unit`.

use clap::Args;
use observastack_spec::{Fault, HumanDuration, Signal, UnitAction, faults::UnitFault};

use super::common::{Held, Wanted, one_of};

/// The unit is killed, stopped or restarted.
///
/// kill sends a signal to all its processes, and Restart= decides what then; stop stops it and starts it again when the
/// fault ends; restart restarts it. Done by systemd, once or every --interval until the fault ends.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject unit --unit observastack-api@1 --action kill --signal ABRT --interval 10s --for 1m"
)]
pub(crate) struct UnitArgs {
    #[command(flatten)]
    held: Held,
    /// What to do.
    #[arg(long, value_parser = one_of!(UnitAction))]
    action: UnitAction,
    /// The signal of --action kill: TERM, ABRT, ...; KILL if not given (SEGV only ends a Rust program the second time).
    #[arg(long, value_name = "NAME")]
    signal: Option<Signal>,
    /// Do it again and again, so far apart: at least 500ms; not with --action stop.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    interval: Option<HumanDuration>,
}

impl From<UnitArgs> for Wanted {
    fn from(args: UnitArgs) -> Self {
        let fault = Fault::Unit(UnitFault {
            action: args.action,
            signal: args.signal,
            interval: args.interval,
        });
        args.held.of(fault)
    }
}
