//! `mtu-blackhole`: large packets vanish, small ones pass.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, defaults, words};
use crate::{Cidr, Direction, FieldError, Protocol};

/// Packets that are larger than a size vanish silently, as on a path whose routers send no ICMP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtuBlackhole {
    /// The largest packet that passes, in bytes from the IP header on: 68 to 65535.
    pub mtu: u32,
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
}

impl Parameters for MtuBlackhole {
    const KIND: &'static str = "mtu-blackhole";

    fn uses(&self) -> Uses {
        Uses::events("")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if !(68..=65_535).contains(&self.mtu) {
            errors.push(FieldError::new(
                "mtu",
                self.mtu,
                "a packet's size from 68 to 65535 bytes, such as 1400",
            ));
        }
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        words([
            Some(format!("above {} bytes", self.mtu)),
            (self.direction != Direction::Both).then(|| self.direction.to_string()),
            self.protocol.map(|protocol| protocol.to_string()),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
