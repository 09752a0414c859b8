//! Faults: as a user sends them, and as the injector carries them out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{FieldError, duration, errno, probability, unit};

/// A fault as a user sends it; nothing in it is checked yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// The unit to break; `.service` may be left out.
    pub unit: String,
    /// Which fault, with its own parameters.
    pub fault: FaultParameters,
    /// How long it holds, in milliseconds, 100 to 3,600,000.
    pub for_ms: u64,
    /// Which share of the matched events is faulted, 0 to 1.
    #[serde(default = "one")]
    pub probability: f64,
    /// Which events those are: the same seed faults the same event numbers. The injector draws one where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the kernel logs the rule's decisions, at most 200 a second.
    #[serde(default)]
    pub verbose: bool,
}

/// A fault's name and its own parameters, unchecked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultParameters {
    /// Packets that arrive at the unit's sockets vanish.
    PacketLoss {
        /// Only TCP and UDP packets with this port at either end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// The unit's `connect(2)` on IPv4 and IPv6 sockets fails.
    ConnectError {
        /// Only connections to this port.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// The error's name, such as `ECONNREFUSED`.
        errno: String,
    },
}

/// A fault that can be carried out: every value is in range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// The unit's full name.
    pub unit: String,
    /// Which fault, with its own parameters.
    pub fault: Fault,
    /// How long it holds, in milliseconds.
    pub for_ms: u64,
    /// Which share of the matched events is faulted, 0 to 1.
    pub probability: f64,
    /// Which events those are.
    pub seed: u64,
    /// Whether the kernel logs the rule's decisions.
    pub verbose: bool,
}

/// A fault's name and its own parameters, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Packets that arrive at the unit's sockets vanish.
    PacketLoss {
        /// Only TCP and UDP packets with this port at either end.
        port: Option<u16>,
    },
    /// The unit's `connect(2)` fails.
    ConnectError {
        /// Only connections to this port.
        port: Option<u16>,
        /// The error's number, positive.
        #[serde(with = "errno_by_name")]
        errno: i32,
    },
}

impl Fault {
    /// The fault's name as users write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PacketLoss { .. } => "packet-loss",
            Self::ConnectError { .. } => "connect-error",
        }
    }

    /// The fault's own parameters for people; empty where it has none.
    pub fn parameters(&self) -> String {
        let on_port =
            |port: &Option<u16>| port.map_or_else(String::new, |port| format!("port {port}"));
        match self {
            Self::PacketLoss { port } => on_port(port),
            Self::ConnectError { port, errno } => {
                let parts = [errno::display(*errno), on_port(port)];
                parts
                    .iter()
                    .filter(|part| !part.is_empty())
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        }
    }
}

fn one() -> f64 {
    1.0
}

impl FaultRequest {
    /// Checks every field and names all that are wrong. `drawn_seed` is the seed where the request has none.
    pub fn validate(self, drawn_seed: u64) -> Result<FaultSpec, Vec<FieldError>> {
        let mut errors = Vec::new();
        let unit = keep(unit::parse(&self.unit), &mut errors);
        let held = keep(
            duration::check_fault_duration(Duration::from_millis(self.for_ms)),
            &mut errors,
        );
        let probability = keep(probability::check(self.probability), &mut errors);
        let fault = keep_all(self.fault.validate(), &mut errors);
        match (unit, held, probability, fault) {
            (Some(unit), Some(_), Some(probability), Some(fault)) => Ok(FaultSpec {
                unit,
                fault,
                for_ms: self.for_ms,
                probability,
                seed: self.seed.unwrap_or(drawn_seed),
                verbose: self.verbose,
            }),
            _ => Err(errors),
        }
    }
}

impl FaultParameters {
    fn validate(self) -> Result<Fault, Vec<FieldError>> {
        let mut errors = Vec::new();
        let fault = match self {
            Self::PacketLoss { port } => {
                keep(check_port(port), &mut errors).map(|port| Fault::PacketLoss { port })
            }
            Self::ConnectError { port, errno } => {
                let port = keep(check_port(port), &mut errors);
                let errno = keep(errno::parse(&errno), &mut errors);
                port.zip(errno)
                    .map(|(port, errno)| Fault::ConnectError { port, errno })
            }
        };
        fault.ok_or(errors)
    }
}

fn check_port(port: Option<u16>) -> Result<Option<u16>, FieldError> {
    match port {
        Some(0) => Err(FieldError::new(
            "port",
            0,
            "a port from 1 to 65535, or none for every port",
        )),
        port => Ok(port),
    }
}

fn keep<T>(checked: Result<T, FieldError>, errors: &mut Vec<FieldError>) -> Option<T> {
    checked.map_err(|error| errors.push(error)).ok()
}

fn keep_all<T>(checked: Result<T, Vec<FieldError>>, errors: &mut Vec<FieldError>) -> Option<T> {
    checked.map_err(|more| errors.extend(more)).ok()
}

/// Errors are names in JSON: numbers differ between architectures.
mod errno_by_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::errno::display(*number))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        super::errno::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> FaultRequest {
        FaultRequest {
            unit: "observastack-api@1".into(),
            fault: FaultParameters::PacketLoss { port: Some(8101) },
            for_ms: 120_000,
            probability: 0.2,
            seed: Some(7),
            verbose: false,
        }
    }

    #[test]
    fn a_good_request_becomes_a_fault() {
        let spec = request().validate(1).unwrap();
        assert_eq!(spec.unit, "observastack-api@1.service");
        assert_eq!((spec.seed, spec.fault.kind()), (7, "packet-loss"));
    }

    #[test]
    fn a_request_without_a_seed_gets_the_drawn_one() {
        let mut request = request();
        request.seed = None;
        assert_eq!(request.validate(99).unwrap().seed, 99);
    }

    #[test]
    fn all_wrong_fields_are_named_at_once() {
        let request = FaultRequest {
            unit: "sshd".into(),
            fault: FaultParameters::ConnectError {
                port: Some(0),
                errno: "EWHATEVER".into(),
            },
            for_ms: 3_600_001,
            probability: -0.1,
            seed: None,
            verbose: false,
        };
        let fields: Vec<_> = request
            .validate(1)
            .unwrap_err()
            .into_iter()
            .map(|error| error.field)
            .collect();
        assert_eq!(fields, ["unit", "for", "probability", "port", "errno"]);
    }

    #[test]
    fn a_request_without_an_end_time_is_refused() {
        let json = r#"{"unit":"a","fault":{"kind":"packet-loss"}}"#;
        let error = serde_json::from_str::<FaultRequest>(json)
            .unwrap_err()
            .to_string();
        assert!(error.contains("for_ms"), "{error}");
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let json = r#"{"unit":"a","fault":{"kind":"packet-loss"},"for_ms":1000,"probabilty":0.1}"#;
        let error = serde_json::from_str::<FaultRequest>(json)
            .unwrap_err()
            .to_string();
        assert!(error.contains("probabilty"), "{error}");
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused_without_a_panic(text in ".{0,200}") {
            if let Ok(request) = serde_json::from_str::<FaultRequest>(&text) {
                let _ = request.validate(1);
            }
        }

        #[test]
        fn a_validated_fault_survives_json(port in proptest::option::of(1u16..), p in 0.0f64..=1.0, for_ms in 100u64..=3_600_000, seed: u64) {
            let request = FaultRequest {
                unit: "shop".into(),
                fault: FaultParameters::ConnectError { port, errno: "ETIMEDOUT".into() },
                for_ms, probability: p, seed: Some(seed), verbose: true,
            };
            let spec = request.validate(0).unwrap();
            let text = serde_json::to_string(&spec).unwrap();
            let mut back: FaultSpec = serde_json::from_str(&text).unwrap();
            // serde_json reads a float to the last bit but one; the kernel's unit, 2^-32, is far coarser.
            prop_assert!((back.probability - p).abs() <= f64::EPSILON);
            back.probability = p;
            prop_assert_eq!(back, spec);
        }
    }
}
