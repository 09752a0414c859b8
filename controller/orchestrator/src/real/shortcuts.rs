//! What makes figures good and users none the happier.

use observastack_spec::scenario::sealed::Shortcut;
use serde_json::Value;

use super::{RealLab, units};
use crate::lab::LabError;

/// Time limits that a user waits for, by service: paths in its configuration.
const LIMITS: [(&str, &str); 6] = [
    ("gateway", "/timeouts/total_ms"),
    ("gateway", "/timeouts/read_ms"),
    ("api@1", "/inventory/request_timeout_ms"),
    ("api@2", "/inventory/request_timeout_ms"),
    ("api@1", "/report/timeout_ms"),
    ("api@2", "/report/timeout_ms"),
];
/// A limit may be raised by so much; more is absurd once it is longer than any user waits.
const MOST_TIMES: f64 = 3.0;
const NOBODY_WAITS_MS: f64 = 10_000.0;

/// Settings of the gateway that turn requests away.
const SHED: [&str; 2] = ["/rate_limit/global", "/rate_limit/per_client"];

/// Those that are taken now.
pub(super) async fn look(lab: &RealLab) -> Result<Vec<(Shortcut, String)>, LabError> {
    let mut found = Vec::new();
    if let Err(words) = lab.load.is_as_asked().await? {
        found.push((Shortcut::LoadStopped, words));
    }
    for unit in units::stopped().await? {
        let shortcut = if units::SHOP.contains(&unit) {
            Shortcut::UnitStopped
        } else {
            Shortcut::TelemetryOff
        };
        found.push((shortcut, format!("{unit} does not run")));
    }
    // One that does not answer was found above.
    let (usual, now) = (lab.services.usual(), lab.services.now().await);
    for (service, now) in &now {
        if let Some(usual) = usual.get(service) {
            found.extend(of_configuration(service, usual, now));
        }
    }
    Ok(found)
}

/// What differs from a service's usual configuration.
fn of_configuration(service: &str, usual: &Value, now: &Value) -> Vec<(Shortcut, String)> {
    let mut found = Vec::new();
    for (of, path) in LIMITS {
        let number = |config: &Value| config.pointer(path).and_then(Value::as_f64);
        if of == service
            && let (Some(before), Some(after)) = (number(usual), number(now))
            && after > before * MOST_TIMES
            && after > NOBODY_WAITS_MS
        {
            let words = format!("{service} waits for {after} ms ({path}), usually {before}");
            found.push((Shortcut::TimeoutRaised, words));
        }
    }
    if service == "gateway" {
        for path in SHED {
            let bucket = |config: &Value| config.pointer(path).cloned().unwrap_or_default();
            let (before, after) = (bucket(usual), bucket(now));
            if after != before && after["enabled"] == true {
                let words = format!("the gateway turns requests away ({path}: {after})");
                found.push((Shortcut::TrafficShed, words));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_may_be_raised_a_little_and_a_gateway_may_not_turn_anybody_away() {
        let usual = json!({"timeouts": {"total_ms": 5000, "read_ms": 2000}, "rate_limit": {"global": {"enabled": false}, "per_client": {"enabled": false}}});
        let with = |path: &str, value: Value| {
            let mut config = usual.clone();
            *config.pointer_mut(path).unwrap() = value;
            of_configuration("gateway", &usual, &config)
                .into_iter()
                .map(|(shortcut, _)| shortcut)
                .collect::<Vec<_>>()
        };
        assert_eq!(with("/timeouts/total_ms", json!(12_000)), []);
        assert_eq!(with("/timeouts/read_ms", json!(9_000)), []);
        assert_eq!(
            with("/timeouts/total_ms", json!(60_000)),
            [Shortcut::TimeoutRaised]
        );
        assert_eq!(
            with("/rate_limit/global", json!({"enabled": true})),
            [Shortcut::TrafficShed]
        );
        assert_eq!(of_configuration("gateway", &usual, &usual), []);
    }
}
