//! The routes. [`ROUTES`] is what `openapi.json` is tested against, and what decides which parameters are known.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::answer::{QueryError, json};
use super::params::{ParamError, Params, parse_trace_id};
use super::tail;
use crate::profiles::{Merge, decode};
use crate::store::Tail;
use crate::store::read::{
    self, Level, LogSearch, Pool, ProfileSearch, TraceSearch, search_logs, search_traces,
};

/// What the routes need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// The store.
    pub pool: Pool,
    /// Where log records are told as they are committed.
    pub tail: Tail,
    /// The stop, which ends live tails.
    pub shutdown: watch::Receiver<bool>,
    /// Places for live tails.
    pub tails: Arc<Semaphore>,
}

/// A path, and the parameters of its query string.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// As axum and OpenAPI write it.
    pub path: &'static str,
    /// Their names.
    pub parameters: &'static [&'static str],
}

/// The description of the routes.
pub const OPENAPI: &str = include_str!("openapi.json");

const TRACES: Route = Route {
    path: "/api/traces",
    parameters: &[
        "service",
        "operation",
        "min_duration",
        "max_duration",
        "status",
        "attribute",
        "from",
        "to",
        "limit",
    ],
};
const TRACE: Route = Route {
    path: "/api/traces/{trace_id}",
    parameters: &[],
};
const LOGS: Route = Route {
    path: "/api/logs",
    parameters: &[
        "text", "level", "unit", "service", "trace_id", "from", "to", "limit",
    ],
};
const TAIL: Route = Route {
    path: "/api/logs/tail",
    parameters: &["text", "level", "unit", "service", "trace_id"],
};
const SERVICES: Route = Route {
    path: "/api/services",
    parameters: &[],
};
const MAP: Route = Route {
    path: "/api/map",
    parameters: &["from", "to"],
};
const FLAMEGRAPH: Route = Route {
    path: "/api/flamegraph",
    parameters: &["service", "kind", "sample_type", "from", "to", "limit"],
};
const DESCRIPTION: Route = Route {
    path: "/openapi.json",
    parameters: &[],
};

/// Every route.
pub const ROUTES: &[Route] = &[
    TRACES,
    TRACE,
    LOGS,
    TAIL,
    SERVICES,
    MAP,
    FLAMEGRAPH,
    DESCRIPTION,
];

/// How long a search may take before it says how far it got.
const SEARCH: Duration = Duration::from_millis(60);
/// What `from` is where nothing is said: this long before `to`.
const USUAL_RANGE: Duration = Duration::from_secs(3_600);
/// Live tails at once.
pub(crate) const TAILS: usize = 16;

/// The router.
pub fn routes(state: State) -> Router {
    Router::new()
        .route(TRACES.path, get(traces))
        .route(TRACE.path, get(trace))
        .route(LOGS.path, get(logs))
        .route(TAIL.path, get(live))
        .route(SERVICES.path, get(services))
        .route(MAP.path, get(map))
        .route(FLAMEGRAPH.path, get(flamegraph))
        .route(DESCRIPTION.path, get(description))
        .fallback(no_route)
        .with_state(state)
}

type Answer = Result<Response, QueryError>;

fn params(route: Route, query: Option<String>) -> Result<Params, ParamError> {
    Params::parse(query.as_deref().unwrap_or(""), route.parameters)
}

async fn traces(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let params = params(TRACES, query)?;
    let search = TraceSearch {
        service: params.text("service"),
        operation: params.text("operation"),
        min_duration_ns: params.duration_ns("min_duration")?,
        max_duration_ns: params.duration_ns("max_duration")?,
        status: params.word("status", &[("unset", 0), ("ok", 1), ("error", 2)])?,
        attributes: params.attributes()?,
        range: params.range(USUAL_RANGE)?,
        limit: params.limit(20, 200)?,
        time: SEARCH,
    };
    let found = state
        .pool
        .ask(move |connection| search_traces(connection, &search))
        .await?;
    Ok(json(&found))
}

async fn trace(
    Shared(state): Shared<State>,
    Path(trace_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    params(TRACE, query)?;
    let id = parse_trace_id(&trace_id).ok_or_else(|| ParamError::Value {
        name: "trace_id".to_owned(),
        value: trace_id.clone(),
        expected: "32 hexadecimal digits".to_owned(),
    })?;
    let found = state
        .pool
        .ask(move |connection| read::trace(connection, id))
        .await?;
    match found {
        Some(trace) => Ok(json(&trace)),
        None => Err(QueryError::NotFound {
            what: format!("trace {trace_id}"),
        }),
    }
}

fn log_search(params: &Params) -> Result<LogSearch, ParamError> {
    Ok(LogSearch {
        text: params.text("text"),
        level: params.word("level", &Level::NAMES)?,
        unit: params.text("unit"),
        service: params.text("service"),
        trace_id: params.trace_id("trace_id")?,
        range: params.range(USUAL_RANGE)?,
        limit: params.limit(100, 1_000)?,
        time: SEARCH,
    })
}

async fn logs(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let search = log_search(&params(LOGS, query)?)?;
    let found = state
        .pool
        .ask(move |connection| search_logs(connection, &search))
        .await?;
    Ok(json(&found))
}

async fn live(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let search = log_search(&params(TAIL, query)?)?;
    let permit = Arc::clone(&state.tails)
        .try_acquire_owned()
        .map_err(|_| QueryError::TooManyTails { limit: TAILS })?;
    Ok(tail::stream(
        state.tail.subscribe(),
        search,
        permit,
        state.shutdown,
    ))
}

async fn services(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    params(SERVICES, query)?;
    let services = state.pool.ask(read::services).await?;
    Ok(json(&json!({ "services": services })))
}

async fn map(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let range = params(MAP, query)?.range(USUAL_RANGE)?;
    let map = state
        .pool
        .ask(move |connection| read::service_map(connection, range))
        .await?;
    Ok(json(&map))
}

async fn flamegraph(Shared(state): Shared<State>, RawQuery(query): RawQuery) -> Answer {
    let params = params(FLAMEGRAPH, query)?;
    let search = ProfileSearch {
        service: params.text("service").ok_or(ParamError::Missing {
            name: "service",
            expected: "a service's name; /api/services lists them",
        })?,
        kind: params.text("kind"),
        range: params.range(USUAL_RANGE)?,
        limit: params.limit(100, 1_000)?,
    };
    let sample_type = params.text("sample_type").unwrap_or_default();
    let graph = state
        .pool
        .ask(move |connection| {
            let mut merge = Merge::new(&sample_type);
            read::profiles(connection, &search, |pprof| {
                match decode(pprof) {
                    Ok(profile) => merge.add(&profile),
                    Err(_) => merge.unreadable(),
                }
                true
            })?;
            Ok(merge.finish())
        })
        .await?;
    Ok(json(&graph))
}

async fn description() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], OPENAPI).into_response()
}

async fn no_route(uri: Uri) -> QueryError {
    QueryError::NoRoute {
        path: uri.path().chars().take(200).collect(),
    }
}
