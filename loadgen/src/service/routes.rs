//! What can be asked for:
//!
//! - `GET /v1/shapes`: the library's shapes;
//! - `PUT /v1/load?target=URL&seed=N&for=2h`, with a shape as YAML or the name of one of the library: begins; 409 while there is a load. With `for` it
//!   goes on with its last rate until so long has passed;
//! - `GET /v1/load`: how it stands ([`Status`]);
//! - `PATCH /v1/load` with `{"rate": 120, "over": "30s", "paused": false}`: each may be left out; with `over` the rate goes there evenly; `"rate": null` is
//!   the shape's rate again, at once;
//! - `DELETE /v1/load`: ends it; answered with the report, after the last answers;
//! - `GET /v1/load/window?seconds=10&in_time=1s&quantile=0.99`: what was measured in the last seconds ([`Lately`]), or with 0 in all
//!   of them;
//! - `GET /v1/load/report`: the report of the last load;
//! - `GET /v1/load/statistics`: a line of JSON (a [`Moment`]) every fifth of a second, until it is over.
//!
//! What is wrong is answered with `{"error": "..."}`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State as Of},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Change, Load, NewRate, Service, Wish, driver,
    window::{LONGEST_S, Lately},
};
use crate::{
    engine::Plan,
    report::Moment,
    schedule::HIGHEST_RATE,
    shape::{self, SHAPES},
    target,
};

/// The longest shape.
const SHAPE: usize = 1 << 20;
/// The longest load.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long a caller waits for a load's last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// The service's routes.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/shapes", get(shapes))
        .route("/v1/load", get(status).put(begin).patch(change).delete(end))
        .route("/v1/load/window", get(window))
        .route("/v1/load/report", get(report))
        .route("/v1/load/statistics", get(statistics))
        .layer(axum::extract::DefaultBodyLimit::max(SHAPE))
        .fallback(async || {
            refused(
                StatusCode::NOT_FOUND,
                "no such path; see /v1/load, /v1/shapes",
            )
        })
        .with_state(service)
}

fn refused(status: StatusCode, reason: impl std::fmt::Display) -> Response {
    (status, Json(json!({"error": reason.to_string()}))).into_response()
}

async fn shapes() -> Response {
    let shapes: Vec<_> = SHAPES
        .iter()
        .map(|named| {
            let parsed = shape::parse(named.text).ok();
            json!({
                "name": named.name,
                "description": parsed.as_ref().and_then(|shape| shape.description.clone()),
                "length_s": parsed.map(|shape| shape.arrival.length().as_secs_f64()),
            })
        })
        .collect();
    Json(shapes).into_response()
}

async fn status(Of(service): Of<Service>) -> Response {
    let status = service.lock().status.clone();
    Json(status).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    target: Option<String>,
    seed: Option<u64>,
    /// How long it takes at least.
    #[serde(rename = "for")]
    length: Option<String>,
}

async fn begin(Of(service): Of<Service>, Query(asked): Query<Begin>, body: Bytes) -> Response {
    let Ok(text) = std::str::from_utf8(&body) else {
        return refused(StatusCode::BAD_REQUEST, "the shape is not UTF-8");
    };
    let text = shape::named(text.trim()).map_or(text, |named| named.text);
    let mut shape = match shape::parse(text) {
        Ok(shape) => shape,
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("shape: {error}")),
    };
    if let Some(target) = &asked.target {
        shape.target = match target::parse(target) {
            Ok(target) => target,
            Err(error) => return refused(StatusCode::BAD_REQUEST, format!("target: {error}")),
        };
    }
    if let Some(text) = &asked.length {
        match humantime::parse_duration(text) {
            Ok(length) if length <= LONGEST => shape = shape.lasting(length),
            _ => {
                let reason =
                    format!("for: `{text}` is not allowed; use a time up to 24h, such as 2h");
                return refused(StatusCode::BAD_REQUEST, reason);
            }
        }
    }
    let shape = shape.with_seed(asked.seed);
    let uri = shape.target.clone();
    let reached = tokio::task::spawn_blocking(move || target::reach(&uri)).await;
    let address = match reached {
        Ok(Ok(address)) => address,
        Ok(Err(error)) => return refused(StatusCode::BAD_GATEWAY, error),
        Err(error) => return refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    };
    let plan = Plan {
        address,
        workload: Arc::clone(&shape.workload),
        arrival: shape.arrival.clone(),
        connections: shape.arrival.connections(shape.connections),
        workers: service.workers,
    };
    let mut state = service.lock();
    if state
        .driver
        .as_ref()
        .is_some_and(|driver| !driver.is_closed())
    {
        return refused(
            StatusCode::CONFLICT,
            "there is a load already; DELETE /v1/load ends it",
        );
    }
    if let Err(error) = driver::begin(&service, &mut state, Load { shape, plan }) {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, error);
    }
    (StatusCode::CREATED, Json(state.status.clone())).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Not there: as it is. `null`: the shape's.
    #[serde(default, deserialize_with = "given")]
    rate: Option<Option<f64>>,
    /// How long it takes to get there; at once, if left out.
    over: Option<String>,
    paused: Option<bool>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What is asked for, if it is right; what is wrong, otherwise.
fn wanted(body: &[u8]) -> Result<Change, String> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(|error| {
        format!("{error}; expected: {{\"rate\": 120, \"over\": \"30s\", \"paused\": false}}")
    })?;
    let over = match &wanted.over {
        Some(text) => match humantime::parse_duration(text) {
            Ok(over) if over <= LONGEST => Some(over),
            _ => {
                return Err(format!(
                    "over: `{text}` is not allowed; use a time up to 24h, such as 30s"
                ));
            }
        },
        None => None,
    };
    let rate = match (wanted.rate, over) {
        (Some(Some(per_second)), _) if !(0.0..=HIGHEST_RATE).contains(&per_second) => {
            return Err(format!(
                "rate: {per_second} is not between 0 and {HIGHEST_RATE}"
            ));
        }
        (Some(Some(per_second)), over) => Some(NewRate::Set {
            per_second,
            over: over.unwrap_or_default(),
        }),
        (None | Some(None), Some(_)) => return Err("over: needs a rate to get to".to_owned()),
        (Some(None), None) => Some(NewRate::Shape),
        (None, None) => None,
    };
    Ok(Change {
        rate,
        is_paused: wanted.paused,
    })
}

async fn change(Of(service): Of<Service>, body: Bytes) -> Response {
    let change = match wanted(&body) {
        Ok(change) => change,
        Err(reason) => return refused(StatusCode::BAD_REQUEST, reason),
    };
    let (driver, has_rate) = {
        let state = service.lock();
        (state.driver.clone(), state.status.rate.is_some())
    };
    let Some(driver) = driver else {
        return refused(
            StatusCode::CONFLICT,
            "there is no load; PUT /v1/load begins one",
        );
    };
    if change.rate.is_some() && !has_rate {
        return refused(
            StatusCode::CONFLICT,
            "a closed loop has users and no rate; `paused` can be changed",
        );
    }
    if driver.send(Wish::Change(change)).await.is_err() {
        return refused(StatusCode::CONFLICT, "the load has just ended");
    }
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Looks {
    #[serde(default = "usual_seconds")]
    seconds: u64,
    in_time: Option<String>,
    #[serde(default = "usual_quantile")]
    quantile: f64,
}

fn usual_seconds() -> u64 {
    10
}

fn usual_quantile() -> f64 {
    0.99
}

async fn window(Of(service): Of<Service>, Query(asked): Query<Looks>) -> Response {
    let Looks {
        seconds,
        in_time,
        quantile,
    } = asked;
    let bad = |reason: String| refused(StatusCode::BAD_REQUEST, reason);
    if seconds > LONGEST_S {
        return bad(format!(
            "seconds: {seconds} is not between 1 and {LONGEST_S}, or 0 for the whole load"
        ));
    }
    if !(quantile > 0.0 && quantile < 1.0) {
        return bad(format!("quantile: {quantile} is not between 0 and 1"));
    }
    let in_time = in_time.as_deref().unwrap_or("1s");
    let Ok(in_time) = humantime::parse_duration(in_time) else {
        return bad(format!("in_time: `{in_time}` is no time, such as 1s"));
    };
    let state = service.lock();
    let is_there = state
        .driver
        .as_ref()
        .is_some_and(|driver| !driver.is_closed());
    if !is_there {
        return refused(StatusCode::CONFLICT, "there is no load");
    }
    let elapsed = Duration::from_secs_f64(state.status.elapsed_s);
    if seconds == 0 {
        drop(state);
        let of = |all: &_| Lately::of(all, elapsed.as_secs(), in_time, quantile);
        return Json(service.exposed.with_stats(of)).into_response();
    }
    Json(state.window.lately(elapsed, seconds, in_time, quantile)).into_response()
}

async fn end(Of(service): Of<Service>) -> Response {
    let Some(driver) = service.driver() else {
        return refused(StatusCode::CONFLICT, "there is no load");
    };
    // An error means that it has just ended.
    let _ = driver.send(Wish::Stop).await;
    if tokio::time::timeout(LAST_ANSWERS, driver.closed())
        .await
        .is_err()
    {
        return refused(
            StatusCode::GATEWAY_TIMEOUT,
            "its last answers take long; it ends by itself",
        );
    }
    report(Of(service)).await
}

async fn report(Of(service): Of<Service>) -> Response {
    let report = service.lock().report.clone();
    match report {
        Some(report) => Json(&*report).into_response(),
        None => refused(StatusCode::NOT_FOUND, "no load has ended yet"),
    }
}

async fn statistics(Of(service): Of<Service>) -> Response {
    let Some(driver) = service.driver() else {
        return refused(StatusCode::CONFLICT, "there is no load");
    };
    let mut moments = service.statistics.subscribe();
    let (lines, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(8);
    tokio::spawn(async move {
        loop {
            let moment: Arc<Moment> = tokio::select! {
                moment = moments.recv() => match moment {
                    Ok(moment) => moment,
                    // What a slow listener has missed is gone; the next is as good.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                },
                () = driver.closed() => return,
                () = lines.closed() => return,
            };
            let Ok(mut line) = serde_json::to_vec(&*moment) else {
                return;
            };
            line.push(b'\n');
            if lines.send(Ok(line.into())).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
