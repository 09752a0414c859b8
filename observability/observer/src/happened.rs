//! Rare things, one by one: from the ring buffer's bytes to the API's words, and to the journal.

use std::time::{SystemTime, UNIX_EPOCH};

use observastack_loader::{
    clock::monotonic_ns,
    observer::event::{self, Event, kind},
};
use observastack_spec::kernel::{Happened, KernelEvent};
use tracing::{info, warn};

use crate::names;

/// Milliseconds since 1970 of a moment of `CLOCK_MONOTONIC`.
pub(crate) fn unix_ms(at_ns: u64) -> u64 {
    let ago_ms = monotonic_ns().saturating_sub(at_ns) / 1_000_000;
    now_unix_ms().saturating_sub(ago_ms)
}

/// The same in microseconds.
pub(crate) fn unix_us(at_ns: u64) -> u64 {
    let ago_us = monotonic_ns().saturating_sub(at_ns) / 1000;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    });
    now_us.saturating_sub(ago_us)
}

/// Milliseconds since 1970, now.
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// What an event says.
pub(crate) fn told(event: &Event) -> Option<Happened> {
    let (pid, comm) = (event.pid, event::comm(event));
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

/// Writes an event to the journal, and with it to the collector. Programs that are executed and processes that end well are
/// everyday matters: they are on the stream only. False where nothing was written.
pub(crate) fn write(event: &KernelEvent) -> bool {
    let unit = event.unit.as_str();
    match &event.what {
        Happened::Exec { .. } => return false,
        Happened::Exit { code: Some(0), .. } => return false,
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
    true
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

    #[test]
    fn a_moment_is_told_in_the_clock_of_people() {
        let ago = unix_ms(monotonic_ns() - 5_000_000_000);
        let expected = now_unix_ms() - 5000;
        assert!(ago.abs_diff(expected) < 100, "{ago} and {expected}");
    }
}
