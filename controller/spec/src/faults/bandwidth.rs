//! `bandwidth`: packets leave no faster than a rate.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, defaults, words};
use crate::{Cidr, Direction, FieldError, Protocol, Rate};

/// The unit's packets are spaced out to a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// The rate of all matched packets together, headers included.
    pub rate: Rate,
    /// Which way; out by default.
    #[serde(default = "defaults::out")]
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

impl Parameters for Bandwidth {
    const KIND: &'static str = "bandwidth";

    fn uses(&self) -> Uses {
        Uses::every_event("a rate is kept over all packets, or it is none")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        words([
            Some(self.rate.to_string()),
            Some(self.direction.to_string()),
            self.protocol.map(|protocol| protocol.to_string()),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
