//! `connect-error`: connect(2) fails.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, words};
use crate::{Cidr, Errno, FieldError, Protocol};

/// The unit's `connect(2)` on IPv4 and IPv6 sockets fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectError {
    /// The error that it fails with.
    pub errno: Errno,
    /// Only sockets of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Only connections to this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only connections to this address or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Cidr>,
}

impl ConnectError {
    /// Every connection fails with an error.
    pub fn new(errno: Errno) -> Self {
        Self {
            errno,
            protocol: None,
            port: None,
            peer: None,
        }
    }
}

impl Parameters for ConnectError {
    const KIND: &'static str = "connect-error";

    fn uses(&self) -> Uses {
        Uses::events("")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        words([
            Some(self.errno.to_string()),
            self.protocol.map(|protocol| protocol.to_string()),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
