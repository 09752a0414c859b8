//! `packet-loss`: packets vanish, like on a bad wire.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, defaults, words};
use crate::{Burst, Cidr, Direction, FieldError, Protocol};

/// Packets to or from the unit's sockets vanish silently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketLoss {
    /// Which way; both by default.
    #[serde(default = "defaults::both")]
    pub direction: Direction,
    /// Only packets of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Only TCP and UDP packets with this port at either end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only packets to or from this address or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Cidr>,
    /// Losses in bursts, instead of by probability or every nth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
    /// Only the packets that open a TCP connection (SYN without ACK).
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub syn_only: bool,
}

impl Default for PacketLoss {
    fn default() -> Self {
        Self {
            direction: Direction::Both,
            protocol: None,
            port: None,
            peer: None,
            burst: None,
            syn_only: false,
        }
    }
}

impl Parameters for PacketLoss {
    const KIND: &'static str = "packet-loss";

    fn uses(&self) -> Uses {
        if self.burst.is_some() {
            return Uses {
                probability: false,
                every: false,
                ..Uses::events("burst decides which packets are lost")
            };
        }
        Uses::events("")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check::port(self.port, errors);
        check::burst(self.burst, errors);
        if self.syn_only && self.protocol == Some(Protocol::Udp) {
            errors.push(FieldError::new(
                "syn_only",
                "with protocol udp",
                "protocol tcp or none with it: only TCP has SYN packets",
            ));
        }
    }

    fn describe(&self) -> String {
        words([
            (self.direction != Direction::Both).then(|| self.direction.to_string()),
            self.protocol.map(|protocol| protocol.to_string()),
            self.syn_only.then(|| "syn only".to_owned()),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
            self.burst.map(|burst| format!("burst {burst}")),
        ])
    }
}
