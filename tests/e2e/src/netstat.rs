//! What the network stack counts by itself.

use std::fs;

use anyhow::{Context, Result};

use crate::command;

/// A counter of `nstat`, such as `TcpRetransSegs`, since the network namespace was made.
pub(crate) fn counter(name: &str) -> Result<u64> {
    let text = command::output(&["nstat", "-asz", name])?;
    text.lines()
        .find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == name).then(|| words.next()?.parse().ok())?
        })
        .with_context(|| format!("nstat has no {name}: {text}"))
}

/// Datagrams that were sent and did not arrive, by `nstat`: from when on does not matter for a difference of two.
pub(crate) fn udp_lost() -> Result<i64> {
    let (sent, arrived) = (counter("UdpOutDatagrams")?, counter("UdpInDatagrams")?);
    Ok(i64::try_from(sent)? - i64::try_from(arrived)?)
}

/// What the kernel counts on the two sides of some TCP connections (`ss -i`), summed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpCounts {
    /// Segments that the clients sent.
    pub(crate) sent_by_clients: u64,
    /// Segments that reached the servers.
    pub(crate) reached_servers: u64,
    /// Segments with data among those that the clients sent.
    pub(crate) data_sent_by_clients: u64,
    /// Segments with data among those that reached the servers.
    pub(crate) data_reached_servers: u64,
    /// Segments that clients sent again.
    pub(crate) retransmitted_by_clients: u64,
    /// Segments that servers sent again.
    pub(crate) retransmitted_by_servers: u64,
}

impl TcpCounts {
    /// The counts of the connections between these client ports and a server's port.
    pub(crate) fn of(server_port: u16, client_ports: &[u16]) -> Result<Self> {
        let filter = format!("( sport = :{server_port} or dport = :{server_port} )");
        let text = command::output(&["ss", "-HOtin", &filter])?;
        let mut counts = Self::default();
        let mut seen = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(peer)) = (words.get(3), words.get(4)) else {
                continue;
            };
            let value = |name: &str| -> u64 {
                words
                    .iter()
                    .find_map(|word| word.strip_prefix(name)?.strip_prefix(':')?.parse().ok())
                    .unwrap_or(0)
            };
            // `retrans:NOW/TOTAL`, absent without any.
            let retransmitted: u64 = words
                .iter()
                .find_map(|word| {
                    word.strip_prefix("retrans:")?
                        .split_once('/')?
                        .1
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            let port = |address: &str| {
                address
                    .rsplit(':')
                    .next()
                    .and_then(|port| port.parse::<u16>().ok())
            };
            if port(local) == Some(server_port)
                && port(peer).is_some_and(|port| client_ports.contains(&port))
            {
                counts.reached_servers += value("segs_in");
                counts.data_reached_servers += value("data_segs_in");
                counts.retransmitted_by_servers += retransmitted;
                seen += 1;
            } else if port(local).is_some_and(|port| client_ports.contains(&port)) {
                counts.sent_by_clients += value("segs_out");
                counts.data_sent_by_clients += value("data_segs_out");
                counts.retransmitted_by_clients += retransmitted;
                seen += 1;
            }
        }
        anyhow::ensure!(
            seen == 2 * client_ports.len(),
            "ss shows {seen} sides of {} connections:\n{text}",
            client_ports.len()
        );
        Ok(counts)
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            sent_by_clients: self.sent_by_clients - earlier.sent_by_clients,
            reached_servers: self.reached_servers - earlier.reached_servers,
            data_sent_by_clients: self.data_sent_by_clients - earlier.data_sent_by_clients,
            data_reached_servers: self.data_reached_servers - earlier.data_reached_servers,
            retransmitted_by_clients: self.retransmitted_by_clients
                - earlier.retransmitted_by_clients,
            retransmitted_by_servers: self.retransmitted_by_servers
                - earlier.retransmitted_by_servers,
        }
    }
}

/// A UDP socket as `/proc/net/udp` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UdpSocket {
    /// Bytes that wait to be read.
    pub(crate) waiting: u64,
    /// Datagrams that arrived for it and were thrown away, by a filter or for lack of room.
    pub(crate) drops: u64,
}

/// The UDP socket that is bound to a port of 127.0.0.1.
pub(crate) fn udp_socket(port: u16) -> Result<UdpSocket> {
    let text = fs::read_to_string("/proc/net/udp")?;
    let address = format!("0100007F:{port:04X}");
    text.lines()
        .find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            if *words.get(1)? != address {
                return None;
            }
            Some(UdpSocket {
                waiting: u64::from_str_radix(words.get(4)?.split_once(':')?.1, 16).ok()?,
                drops: words.last()?.parse().ok()?,
            })
        })
        .with_context(|| format!("no UDP socket on port {port}"))
}
