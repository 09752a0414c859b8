//! Events of traced units: from the ring buffer's bytes to the API's words.

use std::net::{IpAddr, SocketAddr};

use observastack_loader::observer::{
    event,
    trace::{self, Traced as Raw, kind},
};
use observastack_spec::kernel::{Task, Traced};

use crate::names;

/// Highest errno (`include/linux/err.h`).
const MAX_ERRNO: i64 = 4095;

/// States of TCP (`include/net/tcp_states.h`), from 1.
const STATES: [&str; 13] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
    "BOUND_INACTIVE",
];

/// What an event says; `None` for one of another version.
pub(crate) fn told(raw: &Raw) -> Option<Traced> {
    let task = || Task {
        pid: raw.process,
        tid: raw.thread,
        comm: event::text(&raw.comm),
    };
    let (local, remote) = match raw.kind {
        kind::SYSCALL | kind::SCHED => (String::new(), String::new()),
        _ => {
            let [local, remote] = trace::addresses(raw)?;
            let text = |address: IpAddr, port| SocketAddr::new(address, port).to_string();
            (text(local, raw.local_port), text(remote, raw.remote_port))
        }
    };
    Some(match raw.kind {
        kind::SYSCALL => Traced::Syscall {
            task: task(),
            name: names::syscall(raw.what),
            arguments: raw.arguments,
            returned: raw.value,
            errno: errno(raw.value),
            duration_ns: raw.duration_ns,
        },
        kind::TCP_STATE => Traced::TcpState {
            from: state(raw.what >> 8),
            to: state(raw.what & 0xff),
            local,
            remote,
        },
        kind::TCP_RETRANSMIT => Traced::TcpRetransmit { local, remote },
        kind::TCP_RESET_SENT => Traced::TcpResetSent { local, remote },
        kind::TCP_RESET_RECEIVED => Traced::TcpResetReceived { local, remote },
        kind::SCHED => Traced::Sched {
            task: task(),
            ran_ns: raw.duration_ns,
            waited_ns: u64::try_from(raw.value).ok(),
            preempted: raw.what != 0,
        },
        _ => return None,
    })
}

fn errno(returned: i64) -> Option<String> {
    let number = u32::try_from(returned.checked_neg()?).ok()?;
    (1..=MAX_ERRNO)
        .contains(&i64::from(number))
        .then(|| names::errno(number))
}

fn state(number: u32) -> String {
    let index = (number as usize).checked_sub(1);
    let name = index.and_then(|index| STATES.get(index));
    name.map_or_else(|| format!("state_{number}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_tells_its_errno_and_a_stay_its_wait() {
        let raw = Raw {
            kind: kind::SYSCALL,
            value: -2,
            ..Raw::default()
        };
        let Some(Traced::Syscall { errno, .. }) = told(&raw) else {
            panic!("{:?}", told(&raw));
        };
        assert_eq!(errno.as_deref(), Some("ENOENT"));
        for (value, waited) in [(-1, None), (0, Some(0)), (5, Some(5))] {
            let raw = Raw {
                kind: kind::SCHED,
                value,
                ..Raw::default()
            };
            let Some(Traced::Sched { waited_ns, .. }) = told(&raw) else {
                panic!("{:?}", told(&raw));
            };
            assert_eq!(waited_ns, waited);
        }
        // An address in memory is no errno.
        assert_eq!(super::errno(-4096), None);
        assert_eq!(super::errno(i64::MIN), None);
    }

    #[test]
    fn a_socket_tells_its_states_and_both_ends() {
        let mut raw = Raw {
            kind: kind::TCP_STATE,
            what: 2 << 8 | 1,
            family: 2,
            local_port: 40_000,
            remote_port: 8200,
            ..Raw::default()
        };
        raw.local_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        raw.remote_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(
            told(&raw),
            Some(Traced::TcpState {
                from: "SYN_SENT".to_owned(),
                to: "ESTABLISHED".to_owned(),
                local: "127.0.0.1:40000".to_owned(),
                remote: "127.0.0.1:8200".to_owned(),
            })
        );
        raw.what = 99;
        let Some(Traced::TcpState { from, to, .. }) = told(&raw) else {
            panic!("{:?}", told(&raw));
        };
        assert_eq!((from.as_str(), to.as_str()), ("state_0", "state_99"));
    }
}
