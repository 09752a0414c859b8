//! `inject slow-receiver`.

use clap::Args;
use observastack_spec::{Bytes, Cidr, Fault, faults::SlowReceiver};

use super::common::{Events, Held, Wanted, whole};

/// The unit's peers see a small TCP window, as of a receiver that does not read.
///
/// The window in the unit's packets is made smaller at the interface's egress, on live connections too; what the unit
/// receives itself is not touched. Windows are never made larger.
///
/// Needs eBPF at an interface (tcx or clsact). With 0 the peer sends window probes until the fault ends.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject slow-receiver --unit observastack-api@1 --window 512 --for 1m"
)]
pub(crate) struct SlowReceiverArgs {
    #[command(flatten)]
    held: Held,
    /// The largest window that the unit announces: 0 to 1GiB, such as 512 or 4KiB. 0 stops the sender.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    window: Bytes,
    /// Only connections with this port at either end.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true, value_parser = whole::<u16>(1..=65_535))]
    port: Option<u16>,
    /// Only connections with this address or network at the other end: 10.0.0.7, 10.0.0.0/8, 2001:db8::/32.
    #[arg(long, value_name = "CIDR")]
    peer: Option<Cidr>,
    #[command(flatten)]
    events: Events,
}

impl From<SlowReceiverArgs> for Wanted {
    fn from(args: SlowReceiverArgs) -> Self {
        let fault = Fault::SlowReceiver(SlowReceiver {
            window: args.window,
            port: args.port,
            peer: args.peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
