//! `inject packet-loss`.

use clap::Args;
use observastack_spec::{Burst, Fault, faults::PacketLoss};

use super::common::{Events, Held, PacketFilter, Wanted};

/// Packets to or from the unit vanish silently, like on a bad wire.
///
/// Packets in are dropped at the cgroup's ingress, packets out at the interface's egress in a way that TCP does not
/// notice: it sees a missing packet and sends it again, once per loss. A drop where the socket sends would be a local
/// error instead, which no wire gives.
///
/// One by one by --probability, every nth by --every, or in bursts by --burst.
///
/// Needs eBPF for cgroups, and for packets out at an interface (tcx or clsact). It does not corrupt, duplicate or reorder.
#[derive(Debug, Args)]
#[command(mut_arg("direction", |direction| direction.required(false).default_value("both")))]
#[command(
    after_help = "Example: observastack-ctl inject packet-loss --unit observastack-api@1 --port 8101 --probability 20% --for 2m"
)]
pub(crate) struct PacketLossArgs {
    #[command(flatten)]
    held: Held,
    /// Losses in bursts instead of single ones: the probabilities to enter and to leave the bad state at each packet.
    ///
    /// This is the Gilbert-Elliott model: the mean burst is 1/LEAVE packets, the mean loss ENTER/(ENTER+LEAVE). Not
    /// together with --probability or --every.
    #[arg(long, value_name = "ENTER,LEAVE")]
    burst: Option<Burst>,
    /// Only the packets that open a TCP connection (SYN without ACK): connections that exist go on.
    #[arg(long)]
    syn_only: bool,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    filter: PacketFilter,
}

impl From<PacketLossArgs> for Wanted {
    fn from(args: PacketLossArgs) -> Self {
        let PacketFilter {
            direction,
            protocol,
            port,
            peer,
        } = args.filter;
        let fault = Fault::PacketLoss(PacketLoss {
            burst: args.burst,
            syn_only: args.syn_only,
            direction,
            protocol,
            port,
            peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
