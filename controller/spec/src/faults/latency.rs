//! `latency`: packets leave later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, defaults, words};
use crate::{Cidr, Direction, Distribution, FieldError, HumanDuration, Protocol};

/// The longest delay: beyond it TCP has given up most of what it tries.
const LONGEST: Duration = Duration::from_secs(5);

/// Packets are held back for a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// How long, above 0, at most 5 s.
    pub delay: HumanDuration,
    /// How much longer or shorter it may be, at most `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<HumanDuration>,
    /// How the jitter spreads; uniform by default.
    #[serde(default = "defaults::uniform")]
    pub distribution: Distribution,
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

impl Latency {
    /// A constant delay of everything that the unit sends.
    pub fn new(delay: HumanDuration) -> Self {
        Self {
            delay,
            jitter: None,
            distribution: Distribution::Uniform,
            direction: Direction::Out,
            protocol: None,
            port: None,
            peer: None,
        }
    }
}

impl Parameters for Latency {
    const KIND: &'static str = "latency";

    fn uses(&self) -> Uses {
        Uses::events("")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        let delay = self.delay.get();
        if delay.is_zero() || delay > LONGEST {
            errors.push(FieldError::new(
                "delay",
                self.delay,
                "a time above 0 and at most 5s, such as 150ms",
            ));
        }
        if let Some(jitter) = self.jitter.filter(|jitter| *jitter > self.delay) {
            errors.push(FieldError::new(
                "jitter",
                jitter,
                format!(
                    "at most the delay, {}: no packet leaves before it came",
                    self.delay
                ),
            ));
        }
        if self.jitter.is_none() && self.distribution != Distribution::Uniform {
            errors.push(FieldError::new(
                "distribution",
                self.distribution,
                "it together with jitter: without it every delay is the same",
            ));
        }
        check::port(self.port, errors);
    }

    fn describe(&self) -> String {
        let spread = (self.distribution != Distribution::Uniform).then_some(self.distribution);
        words([
            Some(self.delay.to_string()),
            self.jitter.map(|jitter| format!("±{jitter}")),
            spread.map(|distribution| distribution.to_string()),
            Some(self.direction.to_string()),
            self.protocol.map(|protocol| protocol.to_string()),
            self.port.map(|port| format!("port {port}")),
            self.peer.map(|peer| format!("peer {peer}")),
        ])
    }
}
