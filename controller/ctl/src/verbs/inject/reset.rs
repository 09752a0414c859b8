//! `inject reset`.

use clap::Args;
use observastack_spec::{Cidr, Fault, HumanDuration, faults::Reset};

use super::common::{Held, Wanted, parse_probability, whole};

/// The unit's established TCP connections are destroyed, once or again and again.
///
/// The unit sees ECONNABORTED, the peer gets a reset (ECONNRESET).
///
/// It is done from user space (SOCK_DESTROY, like `ss --kill`), so it stops with the injector and its rounds are not
/// timed by the kernel; there is no --seed, --every, --after or --verbose. Needs CONFIG_INET_DIAG_DESTROY. New
/// connections are not kept from opening; blackhole or connect-error do that.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject reset --unit observastack-api@1 --port 5440 --interval 5s --for 1m"
)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    held: Held,
    /// Destroy connections again and again, so far apart: at least 100ms. Once without it.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    interval: Option<HumanDuration>,
    /// The share of the matching connections that each round destroys: 20% or 0.2.
    #[arg(long, value_name = "SHARE", default_value = "100%", allow_hyphen_values = true, value_parser = parse_probability)]
    probability: f64,
    /// Destroy no more than so many connections in all.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole::<u64>(1..=u64::MAX))]
    max: Option<u64>,
    /// Only connections with this port at either end.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true, value_parser = whole::<u16>(1..=65_535))]
    port: Option<u16>,
    /// Only connections with this address or network at the other end: 10.0.0.7, 10.0.0.0/8, 2001:db8::/32.
    #[arg(long, value_name = "CIDR")]
    peer: Option<Cidr>,
}

impl From<ResetArgs> for Wanted {
    fn from(args: ResetArgs) -> Self {
        let fault = Fault::Reset(Reset {
            interval: args.interval,
            port: args.port,
            peer: args.peer,
        });
        let mut wanted = args.held.of(fault);
        wanted.request.probability = args.probability;
        wanted.request.max = args.max;
        wanted
    }
}
