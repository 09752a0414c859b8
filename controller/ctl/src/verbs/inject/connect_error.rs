//! `inject connect-error`.

use clap::Args;
use observastack_spec::{Cidr, Errno, Fault, Protocol, faults::ConnectError};

use super::common::{Events, Held, Wanted, one_of, whole};

/// The unit's connect(2) on IPv4 and IPv6 sockets fails with an error of your choice.
///
/// The call fails at the cgroup's connect hooks, at once and before any packet is sent.
///
/// Connections that exist already go on: keep-alive pools hide the fault until they open a new one. Unix sockets are not
/// touched; syscall-error does that.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject connect-error --unit observastack-api@1 --errno ECONNREFUSED --port 8200 --for 30s --verbose"
)]
pub(crate) struct ConnectErrorArgs {
    #[command(flatten)]
    held: Held,
    /// The error's name: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ...
    #[arg(long, value_name = "NAME")]
    errno: Errno,
    /// Only sockets of this protocol.
    #[arg(long, value_parser = one_of!(Protocol))]
    protocol: Option<Protocol>,
    /// Only connections to this port.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true, value_parser = whole::<u16>(1..=65_535))]
    port: Option<u16>,
    /// Only connections to this address or network: 10.0.0.7, 10.0.0.0/8, 2001:db8::/32.
    #[arg(long, value_name = "CIDR")]
    peer: Option<Cidr>,
    #[command(flatten)]
    events: Events,
}

impl From<ConnectErrorArgs> for Wanted {
    fn from(args: ConnectErrorArgs) -> Self {
        let fault = Fault::ConnectError(ConnectError {
            errno: args.errno,
            protocol: args.protocol,
            port: args.port,
            peer: args.peer,
        });
        args.events.apply(args.held.of(fault))
    }
}
