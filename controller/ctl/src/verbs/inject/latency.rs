//! `inject latency`.

use clap::Args;
use observastack_spec::{Distribution, Fault, HumanDuration, faults::Latency};

use super::common::{Events, Held, PacketFilter, Wanted, one_of};

/// The unit's packets leave later.
///
/// Each packet gets a later time of departure at the cgroup's egress, and the queueing discipline fq keeps it until then.
/// With jitter packets can overtake each other.
///
/// Towards the unit (--direction in) it is the egress of its peers on this machine; with remote peers it is refused,
/// because a packet that has arrived cannot be held back.
///
/// Needs fq on the interface (sch_fq), which is put there and taken away again. A delayed packet stays charged to its
/// socket, so the throughput of a connection drops with the delay.
#[derive(Debug, Args)]
#[command(mut_arg("direction", |direction| direction.required(false).default_value("out")))]
#[command(
    after_help = "Example: observastack-ctl inject latency --unit observastack-api@1 --delay 150ms --jitter 20ms --for 2m"
)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    held: Held,
    /// How long packets are held back: above 0, at most 5s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    delay: HumanDuration,
    /// How much longer or shorter it may be; at most the delay.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    jitter: Option<HumanDuration>,
    /// How the jitter spreads.
    #[arg(long, default_value = "uniform", value_parser = one_of!(Distribution))]
    distribution: Distribution,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    filter: PacketFilter,
}

impl From<LatencyArgs> for Wanted {
    fn from(args: LatencyArgs) -> Self {
        let PacketFilter {
            direction,
            protocol,
            port,
            peer,
        } = args.filter;
        let fault = Fault::Latency(Latency {
            delay: args.delay,
            jitter: args.jitter,
            distribution: args.distribution,
            direction,
            protocol,
            port,
            peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
