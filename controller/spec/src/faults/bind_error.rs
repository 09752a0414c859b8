//! `bind-error`: bind(2) fails.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, words};
use crate::{Errno, FieldError, Protocol};

/// The unit's `bind(2)` on IPv4 and IPv6 sockets fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindError {
    /// The error that it fails with.
    pub errno: Errno,
    /// Only sockets of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Only this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Parameters for BindError {
    const KIND: &'static str = "bind-error";

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
        ])
    }
}
