//! `blackhole`: everything that matches vanishes.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, defaults, words};
use crate::{Cidr, Direction, FieldError, Protocol};

/// All matched packets vanish silently, one way or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blackhole {
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

impl Default for Blackhole {
    fn default() -> Self {
        Self {
            direction: Direction::Both,
            protocol: None,
            port: None,
            peer: None,
        }
    }
}

impl Parameters for Blackhole {
    const KIND: &'static str = "blackhole";

    fn uses(&self) -> Uses {
        Uses::every_event("a black hole takes every packet; packet-loss takes a share")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        words([
            (self.direction != Direction::Both).then(|| self.direction.to_string()),
            self.protocol.map(|protocol| protocol.to_string()),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
