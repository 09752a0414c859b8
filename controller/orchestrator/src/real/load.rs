//! The load generator.

use std::{net::SocketAddr, path::PathBuf};

use hyper::{Method, StatusCode};
use observastack_spec::{drill::score::Impact, scenario::action::Load};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{IN_TIME, http};
use crate::lab::LabError;

/// Longer than any drill.
const LENGTH: &str = "12h";

/// The load generator.
#[derive(Debug)]
pub(super) struct LoadGenerator {
    place: http::Place,
    target: SocketAddr,
}

/// What was measured in some seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Lately {
    pub(super) due: u64,
    pub(super) answered: u64,
    pub(super) errors: u64,
    pub(super) good: u64,
    pub(super) quantile_ns: u64,
}

impl LoadGenerator {
    pub(super) fn new(socket: PathBuf, target: SocketAddr) -> Self {
        Self {
            place: http::Place::Socket(socket),
            target,
        }
    }

    pub(super) async fn begin(&self, load: &Load) -> Result<(), LabError> {
        self.stop().await?;
        let path = format!("/v1/load?target=http://{}&for={LENGTH}", self.target);
        let shape = load.shape.value.clone().into_bytes();
        let answer = http::ask(&self.place, Method::PUT, &path, "text/plain", shape).await?;
        answer.ok("begin the load")?;
        match &load.rate {
            Some(rate) => self.set_rate(rate.value).await,
            None => Ok(()),
        }
    }

    pub(super) async fn set_rate(&self, per_second: f64) -> Result<(), LabError> {
        let change = json!({"rate": per_second}).to_string().into_bytes();
        let answer = http::ask(
            &self.place,
            Method::PATCH,
            "/v1/load",
            "application/json",
            change,
        )
        .await?;
        answer.ok("change the load's rate")
    }

    /// Ends it, if there is one.
    pub(super) async fn stop(&self) -> Result<(), LabError> {
        let answer = http::ask(
            &self.place,
            Method::DELETE,
            "/v1/load",
            "application/json",
            Vec::new(),
        )
        .await?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(());
        }
        answer.ok("end the load")
    }

    /// What was measured in the last seconds; 0 for all of them.
    pub(super) async fn lately(&self, seconds: u64, quantile: f64) -> Result<Lately, LabError> {
        let path = format!(
            "/v1/load/window?seconds={seconds}&in_time={}ms&quantile={quantile}",
            IN_TIME.as_millis()
        );
        http::get(&self.place, &path)
            .await?
            .json("the load's figures")
    }

    pub(super) async fn impact(&self) -> Result<Impact, LabError> {
        let all = self.lately(0, 0.5).await?;
        let failed = all
            .errors
            .saturating_add(all.due.saturating_sub(all.answered));
        Ok(Impact {
            due: all.due,
            failed: failed.min(all.due),
            slow: all.due.saturating_sub(all.good).saturating_sub(failed),
        })
    }

    /// Whether it runs as it should; if not, what it does instead.
    pub(super) async fn is_running(&self) -> Result<Result<(), String>, LabError> {
        let status: Value = http::get(&self.place, "/v1/load").await?.json("the load")?;
        Ok(match status["phase"].as_str() {
            Some("running") => Ok(()),
            other => Err(other.unwrap_or("unknown").to_owned()),
        })
    }
}
