//! `inject bandwidth`.

use clap::Args;
use observastack_spec::{Fault, Rate, faults::Bandwidth};

use super::common::{EveryEvent, Held, PacketFilter, Wanted};

/// The unit's packets leave no faster than a rate.
///
/// Each packet's time of departure is set at the cgroup's egress so that all matching packets together keep the rate, and
/// the queueing discipline fq keeps it until then. Headers from IP on count.
///
/// Needs fq on the interface (sch_fq), as latency does. It does not drop: senders wait, as behind a long queue.
#[derive(Debug, Args)]
#[command(mut_arg("direction", |direction| direction.required(false).default_value("out")))]
#[command(
    after_help = "Example: observastack-ctl inject bandwidth --unit observastack-postgresql --rate 1mbit --for 2m"
)]
pub(crate) struct BandwidthArgs {
    #[command(flatten)]
    held: Held,
    /// The rate of all matching packets together, 8kbit to 100gbit a second: 500kbit, 10mbit.
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    rate: Rate,
    #[command(flatten)]
    events: EveryEvent,
    #[command(flatten)]
    filter: PacketFilter,
}

impl From<BandwidthArgs> for Wanted {
    fn from(args: BandwidthArgs) -> Self {
        let PacketFilter {
            direction,
            protocol,
            port,
            peer,
        } = args.filter;
        let fault = Fault::Bandwidth(Bandwidth {
            rate: args.rate,
            direction,
            protocol,
            port,
            peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
