//! `slow-receiver`: the unit's peers see a small window.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, words};
use crate::{Bytes, Cidr, FieldError};

/// The largest window that TCP can announce.
const LARGEST: Bytes = Bytes::new(1 << 30);

/// The TCP window that the unit announces is at most so large, on live connections too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowReceiver {
    /// The largest window, 0 to 1 GiB; 0 stops the sender.
    pub window: Bytes,
    /// Only connections with this port at either end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only connections with this address or network at the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Cidr>,
}

impl Parameters for SlowReceiver {
    const KIND: &'static str = "slow-receiver";

    fn uses(&self) -> Uses {
        Uses::events("")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if self.window > LARGEST {
            errors.push(FieldError::new(
                "window",
                self.window,
                "a TCP window from 0 to 1GiB",
            ));
        }
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        words([
            Some(format!("window {}", self.window)),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
