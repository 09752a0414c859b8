//! `inject blackhole`.

use clap::Args;
use observastack_spec::{Fault, faults::Blackhole};

use super::common::{EveryEvent, Held, PacketFilter, Wanted};

/// All of the unit's packets that match vanish silently, one way or both.
///
/// Dropped where packet-loss drops them. No error and no reset comes back: the unit and its peers run into their
/// timeouts, as when a cable is cut or a firewall drops.
///
/// Needs what packet-loss needs. For an error at once use connect-error, to end connections use reset.
#[derive(Debug, Args)]
#[command(mut_arg("direction", |direction| direction.required(false).default_value("both")))]
#[command(
    after_help = "Example: observastack-ctl inject blackhole --unit observastack-api@1 --port 8200 --direction out --for 30s"
)]
pub(crate) struct BlackholeArgs {
    #[command(flatten)]
    held: Held,
    #[command(flatten)]
    events: EveryEvent,
    #[command(flatten)]
    filter: PacketFilter,
}

impl From<BlackholeArgs> for Wanted {
    fn from(args: BlackholeArgs) -> Self {
        let PacketFilter {
            direction,
            protocol,
            port,
            peer,
        } = args.filter;
        let fault = Fault::Blackhole(Blackhole {
            direction,
            protocol,
            port,
            peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
