//! `inject bind-error`.

use clap::Args;
use observastack_spec::{Errno, Fault, Protocol, faults::BindError};

use super::common::{Events, Held, Wanted, one_of, whole};

/// The unit's bind(2) on IPv4 and IPv6 sockets fails with an error of your choice.
///
/// The call fails at the cgroup's bind hooks. A service binds when it starts, so restart the unit to see it; sockets that
/// are bound already go on.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject bind-error --unit observastack-api@1 --errno EADDRINUSE --port 8101 --for 1m"
)]
pub(crate) struct BindErrorArgs {
    #[command(flatten)]
    held: Held,
    /// The error's name: EADDRINUSE, EACCES, ...
    #[arg(long, value_name = "NAME")]
    errno: Errno,
    /// Only sockets of this protocol.
    #[arg(long, value_parser = one_of!(Protocol))]
    protocol: Option<Protocol>,
    /// Only this port.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true, value_parser = whole::<u16>(1..=65_535))]
    port: Option<u16>,
    #[command(flatten)]
    events: Events,
}

impl From<BindErrorArgs> for Wanted {
    fn from(args: BindErrorArgs) -> Self {
        let fault = Fault::BindError(BindError {
            errno: args.errno,
            protocol: args.protocol,
            port: args.port,
        });
        args.events.apply(args.held.of(fault))
    }
}
