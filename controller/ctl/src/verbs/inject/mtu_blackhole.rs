//! `inject mtu-blackhole`.

use clap::Args;
use observastack_spec::{Fault, faults::MtuBlackhole};

use super::common::{Events, Held, PacketFilter, Wanted, whole};

/// Packets larger than a size vanish silently, smaller ones pass.
///
/// Like a path whose routers drop what is too large and send no ICMP: connections open, then hang with the first large
/// answer. Segments that the kernel joined for speed (GSO, GRO) are judged by the size that they have on the wire.
///
/// Dropped where packet-loss drops them, and needs what it needs. Path MTU discovery gets no answer; TCP's own probing
/// (net.ipv4.tcp_mtu_probing) can get around it.
#[derive(Debug, Args)]
#[command(mut_arg("direction", |direction| direction.required(false).default_value("both")))]
#[command(
    after_help = "Example: observastack-ctl inject mtu-blackhole --unit observastack-api@1 --mtu 1400 --for 2m"
)]
pub(crate) struct MtuBlackholeArgs {
    #[command(flatten)]
    held: Held,
    /// The largest packet that passes, in bytes from the IP header on: 68 to 65535.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = whole::<u32>(68..=65_535))]
    mtu: u32,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    filter: PacketFilter,
}

impl From<MtuBlackholeArgs> for Wanted {
    fn from(args: MtuBlackholeArgs) -> Self {
        let PacketFilter {
            direction,
            protocol,
            port,
            peer,
        } = args.filter;
        let fault = Fault::MtuBlackhole(MtuBlackhole {
            mtu: args.mtu,
            direction,
            protocol,
            port,
            peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
