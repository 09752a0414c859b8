//! `inject freeze`.

use clap::Args;
use observastack_spec::{Fault, HumanDuration, Percent, faults::Freeze};

use super::common::{Held, Wanted};

/// All of the unit's processes stand still, all the time or in pulses.
///
/// The freezer of cgroup v2 (cgroup.freeze): like a long pause of a garbage collector or of a virtual machine. Connections
/// stay open and the kernel still acknowledges what arrives. Reverted by a timer of systemd also when the injector hangs.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject freeze --unit observastack-inventory --period 1s --frozen 30% --for 1m"
)]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    held: Held,
    /// Freeze in pulses, so far apart: 20ms to 60s. All the time without it.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    period: Option<HumanDuration>,
    /// The frozen share of each period: 1% to 99%; only with --period.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "50%",
        allow_hyphen_values = true
    )]
    frozen: Percent,
}

impl From<FreezeArgs> for Wanted {
    fn from(args: FreezeArgs) -> Self {
        let fault = Fault::Freeze(Freeze {
            period: args.period,
            frozen: args.frozen,
        });
        args.held.of(fault)
    }
}
