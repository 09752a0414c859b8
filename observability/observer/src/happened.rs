//! Rare things, one by one: from the ring buffer's bytes to the API's words, and to the journal.

use observastack_loader::observer::event::{self, Event, kind};
use observastack_spec::kernel::{Happened, KernelEvent};
use tracing::{info, warn};

use crate::names;

/// What an event says.
pub(crate) fn told(event: &Event) -> Option<Happened> {
    let (pid, comm) = (event.pid, event::text(&event.comm));
    let (local_port, remote_port) = (event.local_port, event.remote_port);
    Some(match event.kind {
        kind::EXEC => Happened::Exec { pid, comm },
        kind::EXIT => {
            let signal = event.code & 0x7f;
            Happened::Exit {
                pid,
                comm,
                code: (signal == 0).then_some(event.code >> 8 & 0xff),
                signal: (signal != 0).then(|| names::signal(signal)),
            }
        }
        kind::OOM_KILL => Happened::OomKill { pid, comm },
        kind::RESET_SENT => Happened::ResetSent {
            local_port,
            remote_port,
        },
        kind::RESET_RECEIVED => Happened::ResetReceived {
            local_port,
            remote_port,
        },
        _ => return None,
    })
}

/// Whether an event is worth a line: programs that are executed and processes that end well are everyday matters, and on the stream only.
pub(crate) fn is_worth_a_line(what: &Happened) -> bool {
    !matches!(
        what,
        Happened::Exec { .. } | Happened::Exit { code: Some(0), .. }
    )
}

/// Writes an event to the journal, and with it to the collector.
pub(crate) fn write(event: &KernelEvent) {
    let unit = event.unit.as_str();
    match &event.what {
        Happened::Exec { pid, comm } => info!(unit, pid, comm, "program executed"),
        Happened::Exit {
            pid,
            comm,
            code,
            signal,
        } => info!(
            unit,
            pid,
            comm,
            exit_code = code,
            signal = signal.as_deref(),
            "process ended"
        ),
        Happened::OomKill { pid, comm } => {
            warn!(unit, pid, comm, "process killed for want of memory");
        }
        Happened::ResetSent {
            local_port,
            remote_port,
        } => info!(unit, local_port, remote_port, "TCP reset sent"),
        Happened::ResetReceived {
            local_port,
            remote_port,
        } => info!(unit, local_port, remote_port, "TCP reset received"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Happened {
        let event = Event {
            kind: kind::EXIT,
            pid: 5,
            code,
            ..Event::default()
        };
        told(&event).unwrap()
    }

    #[test]
    fn what_goes_well_is_worth_no_line() {
        assert!(!is_worth_a_line(&exit(0)));
        assert!(is_worth_a_line(&exit(1 << 8)) && is_worth_a_line(&exit(9)));
        let (pid, comm) = (1, "a".to_owned());
        assert!(!is_worth_a_line(&Happened::Exec { pid, comm }));
    }

    #[test]
    fn an_end_tells_its_code_or_its_signal() {
        assert!(matches!(
            exit(0),
            Happened::Exit {
                code: Some(0),
                signal: None,
                ..
            }
        ));
        assert!(matches!(
            exit(3 << 8),
            Happened::Exit {
                code: Some(3),
                signal: None,
                ..
            }
        ));
        // With a core dump.
        let Happened::Exit {
            code: None,
            signal: Some(signal),
            ..
        } = exit(0x80 | 11)
        else {
            panic!("{:?}", exit(0x8b));
        };
        assert_eq!(signal, "SIGSEGV");
    }
}
