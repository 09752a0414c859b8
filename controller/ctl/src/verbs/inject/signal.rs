//! `inject signal`.

use clap::Args;
use observastack_spec::{Fault, Signal, SyscallName, faults::SignalFault};

use super::common::{Events, Held, Wanted};

/// A process of the unit gets a signal when it enters a system call.
///
/// Sent from the kernel at the call's entry: the call is interrupted, or done before the handler runs. Once, unless --max
/// says otherwise; --after chooses which call it is.
///
/// For a signal without a call use `inject unit --action kill`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl inject signal --unit observastack-inventory --signal KILL --call sendto --after 100 --for 1m"
)]
pub(crate) struct SignalArgs {
    #[command(flatten)]
    held: Held,
    /// The signal, with or without SIG: TERM, KILL, SEGV, STOP, ...
    #[arg(long, value_name = "NAME")]
    signal: Signal,
    /// The system call, by the kernel's name: openat, futex, ...
    #[arg(long, value_name = "NAME")]
    call: SyscallName,
    #[command(flatten)]
    events: Events,
}

impl From<SignalArgs> for Wanted {
    fn from(args: SignalArgs) -> Self {
        let fault = Fault::Signal(SignalFault {
            signal: args.signal,
            call: args.call,
        });
        args.events.apply(args.held.of(fault))
    }
}
