//! How many of the requests that begin a trace here are recorded, as a part of a service's configuration.

use observastack_telemetry::otlp::{self, Sampling};
use serde::{Deserialize, Serialize};

use crate::config::FieldError;

/// Which traces that begin in this service are recorded. Where a caller has decided, that holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceSettings {
    /// So many in each second, whatever the ratio, 0 to 1,000,000.
    pub always_per_second: u32,
    /// The share of the others, 0 to 1.
    pub ratio: f64,
}

impl Default for TraceSettings {
    fn default() -> Self {
        let Sampling {
            always_per_second,
            ratio,
        } = Sampling::default();
        Self {
            always_per_second,
            ratio,
        }
    }
}

impl TraceSettings {
    /// Adds what is not allowed, under the name that the settings have in the whole configuration.
    pub fn validate(&self, name: &str, errors: &mut Vec<FieldError>) {
        if self.always_per_second > 1_000_000 {
            errors.push(FieldError {
                field: format!("{name}.always_per_second"),
                value: self.always_per_second.to_string(),
                allowed: "0 to 1000000".to_owned(),
            });
        }
        // Not a number is not in it either.
        if !(0.0..=1.0).contains(&self.ratio) {
            errors.push(FieldError {
                field: format!("{name}.ratio"),
                value: self.ratio.to_string(),
                allowed: "0 to 1".to_owned(),
            });
        }
    }

    /// Lets them hold from the next trace on.
    pub fn apply(&self) {
        otlp::set_sampling(Sampling {
            always_per_second: self.always_per_second,
            ratio: self.ratio,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_named() {
        for (always_per_second, ratio, field) in [
            (1_000_001, 0.5, "traces.always_per_second"),
            (0, -0.1, "traces.ratio"),
            (0, 1.1, "traces.ratio"),
            (0, f64::NAN, "traces.ratio"),
        ] {
            let mut errors = Vec::new();
            let settings = TraceSettings {
                always_per_second,
                ratio,
            };
            settings.validate("traces", &mut errors);
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].field, field);
        }
        let mut errors = Vec::new();
        TraceSettings::default().validate("traces", &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
    }
}
