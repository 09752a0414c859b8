//! `status`: the lab at a glance.

use std::{net::Ipv4Addr, path::Path, process::ExitCode, time::Duration};

use hyper::Method;
use observastack_spec::api::{FaultList, FaultState, FaultStatus};
use serde::Serialize;
use serde_json::Value;

use super::faults;
use crate::{
    client::Client,
    failure::Failure,
    output,
    sut::Service,
    systemd::{self, Unit},
};

/// How long a unit may take to say how it is.
const HEALTH: Duration = Duration::from_secs(2);

/// What has no admin socket and answers on a port: the unit, the port, and what is asked for.
const ON_PORTS: [(&str, u16, &str); 5] = [
    ("observastack-collector.service", 4320, "/api/services"),
    ("observastack-prometheus.service", 9190, "/-/ready"),
    ("observastack-loadgen.service", 8305, "/metrics"),
    ("observastack-observer.service", 8306, "/metrics"),
    ("observastack-controller.service", 8080, "/api/openapi.json"),
];

/// Everything that `status` shows.
#[derive(Debug, Serialize)]
struct Status {
    /// This program's version.
    version: &'static str,
    /// Whether every unit is active and every health check passes.
    healthy: bool,
    units: Vec<UnitStatus>,
    /// Active faults; absent where the injector could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<FaultStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    injector_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct UnitStatus {
    #[serde(flatten)]
    unit: Unit,
    /// `ok`, `unavailable`, `unreachable`, or absent where the unit has no health check of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<String>,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The version of the configuration that the service runs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_version: Option<u64>,
}

/// Prints the lab's state; exits with 1 where something is not as it should be.
pub(crate) async fn run(
    injector: &Client,
    runtime_directory: &Path,
    json: bool,
) -> Result<ExitCode, Failure> {
    // All at once: a unit that hangs is what this is for, and must not hide the others.
    let asking: Vec<_> = systemd::units()
        .await?
        .into_iter()
        .map(|unit| {
            let (injector, directory) = (injector.clone(), runtime_directory.to_owned());
            tokio::spawn(async move { ask_unit(unit, &injector, &directory).await })
        })
        .collect();
    let mut units = Vec::new();
    for asked in asking {
        units.push(
            asked
                .await
                .map_err(|error| Failure::Ended(error.to_string()))?,
        );
    }
    let asked = injector
        .ask::<FaultList>(Method::GET, "/faults", None::<&()>)
        .await;
    let (faults, injector_error) = match asked {
        Ok(list) => (
            Some(
                list.faults
                    .into_iter()
                    .filter(|fault| fault.state == FaultState::Active)
                    .collect(),
            ),
            None,
        ),
        Err(failure) => (None, Some(failure.to_string())),
    };
    let healthy =
        injector_error.is_none() && !units.is_empty() && units.iter().all(UnitStatus::is_healthy);
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        healthy,
        units,
        faults,
        injector_error,
    };
    if json {
        output::json(&status);
    } else {
        output::line(text(&status));
    }
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl UnitStatus {
    fn is_healthy(&self) -> bool {
        self.unit.active == "active" && self.health.as_ref().is_none_or(|health| health == "ok")
    }
}

async fn ask_unit(unit: Unit, injector: &Client, runtime_directory: &Path) -> UnitStatus {
    let mut status = UnitStatus {
        unit,
        health: None,
        reason: None,
        config_version: None,
    };
    if status.unit.unit == "observastack-injector.service" {
        status.set_health(
            injector
                .send(Method::GET, "/healthz", "application/json", Vec::new())
                .await,
        );
    }
    if let Some((_, port, path)) = ON_PORTS.iter().find(|(unit, ..)| *unit == status.unit.unit) {
        let client = Client::port((Ipv4Addr::LOCALHOST, *port).into(), &status.unit.unit);
        let asked = client.patient_for(HEALTH);
        status.set_health(
            asked
                .send(Method::GET, path, "application/json", Vec::new())
                .await,
        );
    }
    let Some(service) = Service::of(&status.unit.unit) else {
        return status;
    };
    let client = service.client(runtime_directory).patient_for(HEALTH);
    status.set_health(
        client
            .send(Method::GET, "/healthz", "application/json", Vec::new())
            .await,
    );
    if status.health.as_deref() == Some("unreachable") {
        return status;
    }
    if let Ok((_, body)) = client
        .send(Method::GET, "/config", "application/json", Vec::new())
        .await
    {
        let config: Option<Value> = serde_json::from_slice(&body).ok();
        status.config_version = config.and_then(|config| config.get("version")?.as_u64());
    }
    status
}

impl UnitStatus {
    fn set_health(&mut self, answer: Result<(hyper::StatusCode, bytes::Bytes), Failure>) {
        let (health, reason) = match answer {
            Ok((code, _)) if code.is_success() => ("ok", None),
            Ok((_, body)) => ("unavailable", Some(reasons(&body))),
            Err(failure) => ("unreachable", Some(failure.to_string())),
        };
        self.health = Some(health.to_owned());
        self.reason = reason;
    }
}

/// The reasons in a health check's body: `{"reasons": [{"check", "reason"}]}`.
fn reasons(body: &[u8]) -> String {
    let report: Value = serde_json::from_slice(body).unwrap_or_default();
    let reasons = report
        .get("reasons")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let words = reasons.iter().filter_map(|reason| {
        Some(format!(
            "{}: {}",
            reason.get("check")?.as_str()?,
            reason.get("reason")?.as_str()?
        ))
    });
    words.collect::<Vec<_>>().join("; ")
}

fn text(status: &Status) -> String {
    if status.units.is_empty() {
        return "no unit of the lab is installed here".to_owned();
    }
    let header = [
        "UNIT", "STATE", "HEALTH", "CONFIG", "RESTARTS", "MEMORY", "NOTE",
    ];
    let rows: Vec<_> = status.units.iter().map(row).collect();
    let mut parts = vec![output::table(&header, &rows)];
    match (&status.faults, &status.injector_error) {
        (_, Some(error)) => parts.push(format!("faults unknown: {error}")),
        (Some(active), _) if active.is_empty() => parts.push("no active faults".to_owned()),
        (Some(active), _) => parts.push(faults::table(active)),
        (None, None) => {}
    }
    parts.join("\n\n")
}

fn row(status: &UnitStatus) -> Vec<String> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    vec![
        status.unit.unit.trim_end_matches(".service").to_owned(),
        format!("{} ({})", status.unit.active, status.unit.sub),
        or_dash(status.health.clone()),
        or_dash(status.config_version.map(|version| format!("v{version}"))),
        status.unit.restarts.to_string(),
        or_dash(
            status
                .unit
                .memory_bytes
                .map(|bytes| format!("{} MiB", bytes / (1024 * 1024))),
        ),
        status.reason.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_from_the_services_answer() {
        let body = br#"{"status":"unavailable","reasons":[{"check":"database","reason":"refused"},{"check":"x","reason":"y"}]}"#;
        assert_eq!(reasons(body), "database: refused; x: y");
        assert_eq!(reasons(b"not json"), "");
    }

    #[test]
    fn a_failed_unit_and_a_failed_check_are_not_healthy() {
        let unit = |active: &str, health: Option<&str>| UnitStatus {
            unit: Unit {
                active: active.into(),
                ..Unit::default()
            },
            health: health.map(Into::into),
            reason: None,
            config_version: None,
        };
        assert!(unit("active", None).is_healthy());
        assert!(unit("active", Some("ok")).is_healthy());
        assert!(!unit("failed", Some("ok")).is_healthy());
        assert!(!unit("active", Some("unavailable")).is_healthy());
    }
}
