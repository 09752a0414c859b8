//! Faults: as a user sends them, and as the injector carries them out.

mod kind;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::kind::{Fault, KINDS};
use crate::{FieldError, duration, faults::defaults, probability, unit};

/// A fault as a user sends it: every value is of its kind, but ranges are not checked yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// The unit to break; `.service` may be left out.
    pub unit: String,
    /// Which fault, with its own parameters.
    pub fault: Fault,
    /// How long it holds, in milliseconds, 100 to 3,600,000.
    pub for_ms: u64,
    /// Which share of the matched events is faulted, 0 to 1.
    #[serde(default = "one")]
    pub probability: f64,
    /// Only every so manieth matched event can be faulted; 1 for each.
    #[serde(default = "each")]
    pub every: u32,
    /// How many matched events are left alone first.
    #[serde(default)]
    pub after: u64,
    /// How many events are faulted at most, from 1; none for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Which events those are: the same seed faults the same event numbers. The injector draws one where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the kernel logs the rule's decisions, at most 200 a second.
    #[serde(default)]
    pub verbose: bool,
    /// Whether somebody has to find it: then no metric has it, and no record of the journal tells what it is and where. Operators' lists do.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub covert: bool,
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
    /// Only every so manieth matched event can be faulted, from 1.
    #[serde(default = "each")]
    pub every: u32,
    /// How many matched events are left alone first.
    #[serde(default)]
    pub after: u64,
    /// How many events are faulted at most, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Which events those are.
    pub seed: u64,
    /// Whether the kernel logs the rule's decisions.
    pub verbose: bool,
    /// Whether somebody has to find it.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub covert: bool,
}

fn one() -> f64 {
    1.0
}

fn each() -> u32 {
    1
}

impl FaultRequest {
    /// A fault of every matched event, for a time.
    pub fn new(unit: impl Into<String>, fault: Fault, held: Duration) -> Self {
        Self {
            unit: unit.into(),
            fault,
            for_ms: held.as_millis().try_into().unwrap_or(u64::MAX),
            probability: one(),
            every: each(),
            after: 0,
            max: None,
            seed: None,
            verbose: false,
            covert: false,
        }
    }

    /// Checks every field and names all that are wrong. `drawn_seed` is the seed where the request has none.
    pub fn validate(self, drawn_seed: u64) -> Result<FaultSpec, Vec<FieldError>> {
        let mut errors = Vec::new();
        let unit = keep(unit::parse(&self.unit), &mut errors);
        keep(
            duration::check_fault_duration(Duration::from_millis(self.for_ms)),
            &mut errors,
        );
        keep(probability::check(self.probability), &mut errors);
        if self.every == 0 {
            errors.push(FieldError::new(
                "every",
                0,
                "a number from 1, 1 for each event",
            ));
        }
        if self.max == Some(0) {
            errors.push(FieldError::new(
                "max",
                0,
                "a number from 1, or none for no bound",
            ));
        }
        self.check_uses(&mut errors);
        self.fault.check(&mut errors);
        match unit {
            Some(unit) if errors.is_empty() => Ok(FaultSpec {
                unit,
                for_ms: self.for_ms,
                probability: self.probability,
                every: self.every,
                after: self.after,
                max: self.max.or(self.fault.uses().max_by_default),
                seed: self.seed.unwrap_or(drawn_seed),
                // Its decisions are what somebody has to find.
                verbose: self.verbose && !self.covert,
                covert: self.covert,
                fault: self.fault,
            }),
            _ => Err(errors),
        }
    }

    /// Common options that the fault has no use for are refused: left out silently, they would promise what isn't done.
    fn check_uses(&self, errors: &mut Vec<FieldError>) {
        let uses = self.fault.uses();
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let given = [
            (
                "probability",
                uses.probability,
                // In range: one that is not has been named already.
                (0.0..1.0)
                    .contains(&self.probability)
                    .then(|| probability::display(self.probability)),
            ),
            (
                "every",
                uses.every,
                (self.every > 1).then(|| self.every.to_string()),
            ),
            (
                "after",
                uses.after,
                (self.after > 0).then(|| self.after.to_string()),
            ),
            ("max", uses.max, number(self.max.filter(|max| *max > 0))),
            ("seed", uses.seed, number(self.seed)),
            (
                "verbose",
                uses.verbose,
                self.verbose.then(|| "true".to_owned()),
            ),
        ];
        for (field, is_used, value) in given {
            if let Some(value) = value.filter(|_| !is_used) {
                let (kind, reason) = (self.fault.kind(), uses.reason);
                let allowed = format!("no {field} with {kind}: {reason}");
                errors.push(FieldError::new(field, value, allowed));
            }
        }
    }
}

fn keep<T>(checked: Result<T, FieldError>, errors: &mut Vec<FieldError>) -> Option<T> {
    checked.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::faults::{Blackhole, ConnectError, PacketLoss, SignalFault};

    fn loss(port: u16) -> Fault {
        Fault::PacketLoss(PacketLoss {
            port: Some(port),
            ..PacketLoss::default()
        })
    }

    fn request() -> FaultRequest {
        FaultRequest {
            probability: 0.2,
            seed: Some(7),
            ..FaultRequest::new("observastack-api@1", loss(8101), Duration::from_secs(120))
        }
    }

    fn fields(request: FaultRequest) -> Vec<String> {
        let errors = request.validate(1).unwrap_err();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_good_request_becomes_a_fault() {
        let spec = request().validate(1).unwrap();
        assert_eq!(spec.unit, "observastack-api@1.service");
        assert_eq!((spec.seed, spec.fault.kind()), (7, "packet-loss"));
        assert_eq!((spec.every, spec.after, spec.max), (1, 0, None));
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
            fault: loss(0),
            for_ms: 3_600_001,
            probability: -0.1,
            every: 0,
            max: Some(0),
            ..request()
        };
        let expected = ["unit", "for", "probability", "every", "max", "port"];
        assert_eq!(fields(request), expected);
    }

    #[test]
    fn options_that_a_fault_has_no_use_for_are_refused_with_the_reason() {
        let request = FaultRequest {
            fault: Fault::Blackhole(Blackhole::default()),
            every: 3,
            after: 2,
            max: Some(9),
            ..request()
        };
        let errors = request.clone().validate(1).unwrap_err();
        assert!(
            errors[0].allowed.contains("takes every packet"),
            "{}",
            errors[0]
        );
        assert_eq!(fields(request), ["probability", "every", "seed"]);
    }

    #[test]
    fn a_signal_is_sent_once_unless_asked_otherwise() {
        let fault = Fault::Signal(SignalFault {
            signal: "TERM".parse().unwrap(),
            call: "openat".parse().unwrap(),
        });
        let once = FaultRequest::new("shop", fault, Duration::from_secs(1));
        assert_eq!(once.clone().validate(1).unwrap().max, Some(1));
        let often = FaultRequest {
            max: Some(5),
            ..once
        };
        assert_eq!(often.validate(1).unwrap().max, Some(5));
    }

    #[test]
    fn json_of_the_first_release_is_read_as_before() {
        let json = r#"{"unit":"a","fault":{"kind":"connect-error","port":8200,"errno":"ECONNREFUSED"},"for_ms":1000}"#;
        let read: FaultRequest = serde_json::from_str(json).unwrap();
        let fault = Fault::ConnectError(ConnectError {
            port: Some(8200),
            ..ConnectError::new("ECONNREFUSED".parse().unwrap())
        });
        assert_eq!(read, FaultRequest::new("a", fault, Duration::from_secs(1)));
    }

    #[test]
    fn what_json_gets_wrong_is_refused_by_name() {
        let whole = |fault: &str| format!(r#"{{"unit":"a","fault":{fault},"for_ms":1000}}"#);
        for (json, name) in [
            (
                r#"{"unit":"a","fault":{"kind":"packet-loss"}}"#.to_owned(),
                "for_ms",
            ),
            (
                r#"{"unit":"a","fault":{"kind":"packet-loss"},"for_ms":1,"probabilty":1}"#
                    .to_owned(),
                "probabilty",
            ),
            (whole(r#"{"kind":"packet-los"}"#), "packet-loss, latency"),
            (whole(r#"{"port":1}"#), "kind"),
            (
                whole(r#"{"kind":"packet-loss","prot":1}"#),
                "prot: there is no such field",
            ),
            (whole(r#"{"kind":"packet-loss","port":70000}"#), "port: "),
            (
                whole(r#"{"kind":"packet-loss","peer":"all"}"#),
                "peer: `all` is not allowed",
            ),
            (whole(r#"{"kind":"connect-error"}"#), "errno: is needed"),
            (whole(r#"{"kind":"connect-error","errno":111}"#), "errno: "),
        ] {
            let error = serde_json::from_str::<FaultRequest>(&json)
                .unwrap_err()
                .to_string();
            assert!(error.contains(name), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused_without_a_panic(text in ".{0,200}") {
            if let Ok(request) = serde_json::from_str::<FaultRequest>(&text) {
                let _ = request.validate(1);
            }
        }
    }
}
