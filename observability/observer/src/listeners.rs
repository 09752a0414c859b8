//! Listening sockets: how many connections wait to be accepted, and how many were thrown away.

use std::collections::BTreeMap;

use observastack_loader::sock_diag::Listener;
use observastack_spec::kernel::ListenerReport;

/// What is known of each unit's ports; drops are kept when a socket is closed and another one listens there.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    ports: BTreeMap<(String, u16), Port>,
    /// Drops of each socket that is there, by its cookie.
    sockets: BTreeMap<u64, u32>,
}

#[derive(Debug, Default)]
struct Port {
    waiting: u32,
    limit: u32,
    drops: u64,
}

impl Listeners {
    /// Takes the kernel's list, with the unit of each socket. Drops before the first look do not count.
    pub(crate) fn take(&mut self, found: &[(String, Listener)]) {
        let mut sockets = BTreeMap::new();
        for port in self.ports.values_mut() {
            (port.waiting, port.limit) = (0, 0);
        }
        for (unit, listener) in found {
            let port = self.ports.entry((unit.clone(), listener.port)).or_default();
            // Several sockets may share a port (`SO_REUSEPORT`, IPv4 and IPv6).
            port.waiting += listener.waiting;
            port.limit += listener.limit;
            let before = self.sockets.get(&listener.cookie).copied();
            // The kernel's counter has 32 bits and may go round.
            port.drops += before.map_or(0, |before| u64::from(listener.drops.wrapping_sub(before)));
            sockets.insert(listener.cookie, listener.drops);
        }
        self.sockets = sockets;
    }

    /// A unit's ports.
    pub(crate) fn of(&self, unit: &str) -> Vec<ListenerReport> {
        let ports = self.ports.iter().filter(|((of, _), _)| of == unit);
        ports
            .map(|((_, number), port)| ListenerReport {
                port: *number,
                waiting: port.waiting,
                limit: port.limit,
                drops: port.drops,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(cookie: u64, port: u16, waiting: u32, drops: u32) -> (String, Listener) {
        let listener = Listener {
            cgroup_id: 1,
            cookie,
            port,
            waiting,
            limit: 128,
            drops,
        };
        ("a.service".to_owned(), listener)
    }

    #[test]
    fn drops_go_on_when_another_socket_listens() {
        let mut listeners = Listeners::default();
        listeners.take(&[listener(1, 80, 3, 10)]);
        assert_eq!(
            listeners.of("a.service")[0].drops,
            0,
            "before the first look"
        );
        listeners.take(&[listener(1, 80, 5, 14)]);
        assert_eq!(
            listeners.of("a.service"),
            [ListenerReport {
                port: 80,
                waiting: 5,
                limit: 128,
                drops: 4
            }]
        );
        listeners.take(&[]);
        assert_eq!(
            listeners.of("a.service"),
            [ListenerReport {
                port: 80,
                waiting: 0,
                limit: 0,
                drops: 4
            }]
        );
        listeners.take(&[listener(2, 80, 0, 0)]);
        listeners.take(&[listener(2, 80, 0, 2)]);
        assert_eq!(listeners.of("a.service")[0].drops, 6);
        assert!(listeners.of("b.service").is_empty());
    }

    #[test]
    fn sockets_on_one_port_are_told_together_and_the_counter_goes_round() {
        let mut listeners = Listeners::default();
        listeners.take(&[listener(1, 80, 1, u32::MAX), listener(2, 80, 2, 0)]);
        listeners.take(&[listener(1, 80, 1, 1), listener(2, 80, 2, 1)]);
        assert_eq!(
            listeners.of("a.service"),
            [ListenerReport {
                port: 80,
                waiting: 3,
                limit: 256,
                drops: 3
            }]
        );
    }
}
