//! `reset`: established TCP connections are destroyed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, words};
use crate::{Cidr, FieldError, HumanDuration};

/// The shortest time between two rounds.
const SHORTEST: Duration = Duration::from_millis(100);

/// Established TCP connections of the unit are destroyed from user space, once or again and again.
///
/// Probability is the share of the connections that each round destroys, `max` the number of all that it destroys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The time between two rounds, at least 100 ms; none for a single round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<HumanDuration>,
    /// Only connections with this port at either end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Only connections with this address or network at the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Cidr>,
}

impl Parameters for Reset {
    const KIND: &'static str = "reset";

    fn uses(&self) -> Uses {
        Uses {
            probability: true,
            max: true,
            ..Uses::nothing(
                "connections are destroyed from user space: the kernel numbers no events",
            )
        }
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check::interval(self.interval, SHORTEST, errors);
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        words([
            self.interval.map(|interval| format!("every {interval}")),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
