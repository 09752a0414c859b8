//! The API on the observer's socket, and `/metrics` on a loopback port.
//!
//! ```text
//! GET  /v1/kernel           everything that was counted, by unit
//! GET  /v1/events           rare things from now on, one JSON object a line
//! GET  /v1/probes           how the probes stand
//! PUT  /v1/probes/NAME      {"on": true}
//! PUT  /v1/syscalls/UNIT    {"on": true}: counts the unit's system calls; the probe is on while any unit's are
//! PUT  /v1/off-cpu/UNIT     {"on": true}: counts how long the unit's tasks sleep, by system call
//! GET  /v1/trace/WHAT/UNIT  everything of syscalls, tcp or sched, one JSON object a line, for as long as somebody listens
//! GET  /v1/profile/UNIT     of=cpu&seconds=30&hz=49 or of=off-cpu&seconds=30: stacks, after that time
//! ```

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use observastack_loader::observer::{Probe, SwitchError};
use observastack_spec::{
    api::{ErrorBody, ErrorCode},
    kernel::{KernelReport, ProbeList, ProbeStatus, ProgramRuns, Switch, Traceable},
    profile::ProfileReport,
};
use observastack_telemetry::metrics::{self, Registry};
use serde_json::json;
use tokio_stream::{
    StreamExt as _,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};
use tracing::info;

use crate::{
    cgroups::missing_controller,
    engine::{Countable, Engine, EngineError, Told},
    kallsyms,
    metrics::Shown,
    profile::{self, ProfileError},
    push::Pusher,
};

/// What every request needs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) cgroup_root: PathBuf,
    pub(crate) pusher: Pusher,
}

/// What went wrong, for whoever asked.
struct Failure(StatusCode, ErrorCode, String);

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let (status, code) = match &error {
            EngineError::Stopped | EngineError::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Conflict)
            }
            EngineError::Kernel(_) | EngineError::Switch(SwitchError::Map(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal)
            }
            EngineError::Switch(SwitchError::NoUnit(_)) => {
                (StatusCode::NOT_FOUND, ErrorCode::UnknownUnit)
            }
            EngineError::Switch(SwitchError::Refused { .. }) => {
                (StatusCode::CONFLICT, ErrorCode::Unsupported)
            }
        };
        Self(status, code, error.to_string())
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let (status, code) = match error {
            ProfileError::Engine(error) => return error.into(),
            ProfileError::Busy => (StatusCode::CONFLICT, ErrorCode::Conflict),
            ProfileError::Names(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
        };
        Self(status, code, error.to_string())
    }
}

impl Failure {
    fn not_found(error: String) -> Self {
        Self(StatusCode::NOT_FOUND, ErrorCode::NotFound, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, code, error) = self;
        let body = ErrorBody {
            error,
            code,
            fields: Vec::new(),
        };
        (status, Json(body)).into_response()
    }
}

/// The API.
pub(crate) fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/kernel", get(kernel))
        .route("/v1/events", get(events))
        .route("/v1/probes", get(probes))
        .route("/v1/probes/{name}", put(switch))
        .route("/v1/syscalls/{unit}", put(syscalls))
        .route("/v1/off-cpu/{unit}", put(off_cpu))
        .route("/v1/trace/{what}/{unit}", get(trace))
        .route("/v1/profile/{unit}", get(profile))
        .fallback(|| async {
            Failure::not_found(
                "there are /v1/kernel, /v1/events, /v1/probes, /v1/probes/NAME, /v1/syscalls/UNIT, /v1/off-cpu/UNIT, /v1/trace/WHAT/UNIT and /v1/profile/UNIT"
                    .to_owned(),
            )
        })
        .with_state(context)
}

/// What Prometheus asks for.
pub(crate) fn scrapes(engine: Engine, mut registry: Registry) -> Router {
    let shown = Shown::default();
    registry.register_collector(Box::new(shown.clone()));
    let state = Arc::new((engine, shown, registry));
    let answer = async move || -> Result<Response, Failure> {
        let (engine, shown, registry) = &*state;
        shown.show(engine.told().await?);
        let text = metrics::encode(registry);
        Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
    };
    Router::new().route("/metrics", get(answer))
}

async fn kernel(State(context): State<Context>) -> Result<Json<KernelReport>, Failure> {
    Ok(Json(context.engine.told().await?.report))
}

async fn events(State(context): State<Context>) -> Response {
    // Whoever is too slow misses some, and is told how many.
    let lines = BroadcastStream::new(context.engine.listen()).map(|event| {
        let line = match event {
            Ok(event) => serde_json::to_string(&*event).unwrap_or_default(),
            Err(BroadcastStreamRecvError::Lagged(count)) => {
                json!({"event": "missed", "count": count}).to_string()
            }
        };
        Ok::<_, Infallible>(format!("{line}\n"))
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

async fn probes(State(context): State<Context>) -> Result<Json<ProbeList>, Failure> {
    let told = context.engine.told().await?;
    Ok(Json(list(&told, &context.cgroup_root)))
}

async fn switch(
    State(context): State<Context>,
    Path(name): Path<String>,
    wish: Result<Json<Switch>, JsonRejection>,
) -> Result<Json<ProbeList>, Failure> {
    let Some(probe) = Probe::named(&name) else {
        let names: Vec<_> = Probe::ALL.iter().map(|probe| probe.name()).collect();
        let message = format!("there is no probe `{name}`; there are {}", names.join(", "));
        return Err(Failure::not_found(message));
    };
    let on = wanted(wish)?;
    context.engine.switch(probe, on).await?;
    info!(probe = name, on, "probe switched");
    probes(State(context)).await
}

async fn syscalls(
    State(context): State<Context>,
    Path(unit): Path<String>,
    wish: Result<Json<Switch>, JsonRejection>,
) -> Result<Json<ProbeList>, Failure> {
    count(context, unit, Countable::Syscalls, wish).await
}

async fn off_cpu(
    State(context): State<Context>,
    Path(unit): Path<String>,
    wish: Result<Json<Switch>, JsonRejection>,
) -> Result<Json<ProbeList>, Failure> {
    count(context, unit, Countable::OffCpu, wish).await
}

async fn count(
    context: Context,
    unit: String,
    what: Countable,
    wish: Result<Json<Switch>, JsonRejection>,
) -> Result<Json<ProbeList>, Failure> {
    let on = wanted(wish)?;
    context.engine.count(unit.clone(), what, on).await?;
    info!(unit, ?what, on, "counting switched");
    probes(State(context)).await
}

async fn trace(
    State(context): State<Context>,
    Path((what, unit)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let Some(what) = Traceable::ALL.into_iter().find(|one| one.name() == what) else {
        let names = Traceable::ALL.map(Traceable::name).join(", ");
        return Err(Failure::not_found(format!(
            "`{what}` cannot be traced; there are {names}"
        )));
    };
    let (events, tracing) = context.engine.trace(unit, what).await?;
    info!(unit = tracing.unit, what = what.name(), "trace begins");
    // The trace ends with the stream, which owns its guard.
    let lines = BroadcastStream::new(events).filter_map(move |event| {
        let line = match event {
            Ok(event) if event.unit == tracing.unit && event.what.traceable() == tracing.what => {
                serde_json::to_string(&*event).unwrap_or_default()
            }
            Ok(_) => return None,
            Err(BroadcastStreamRecvError::Lagged(count)) => {
                json!({"event": "missed", "count": count}).to_string()
            }
        };
        Some(Ok::<_, Infallible>(format!("{line}\n")))
    });
    Ok((
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

async fn profile(
    State(context): State<Context>,
    Path(unit): Path<String>,
    options: Result<Query<profile::Options>, QueryRejection>,
) -> Result<Json<ProfileReport>, Failure> {
    let bad = |error: String| Failure(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, error);
    let Query(options) = options.map_err(|error| {
        let error = error.body_text();
        bad(format!("{error}; right would be of=cpu&seconds=30&hz=49"))
    })?;
    let options = options.checked().map_err(bad)?;
    let report = profile::take(&context.engine, &unit, options).await?;
    context.pusher.push(&report);
    Ok(Json(report))
}

fn wanted(wish: Result<Json<Switch>, JsonRejection>) -> Result<bool, Failure> {
    match wish {
        Ok(Json(Switch { on })) => Ok(on),
        Err(error) => Err(Failure(
            StatusCode::BAD_REQUEST,
            ErrorCode::BadRequest,
            format!("{}; right would be {{\"on\": true}}", error.body_text()),
        )),
    }
}

/// The probes, and the files that are read beside them.
fn list(told: &Told, cgroup_root: &std::path::Path) -> ProbeList {
    let programs = |probe: Probe| {
        let programs = told.snapshot.programs.iter();
        programs
            .filter(|program| program.probe == probe)
            .map(|program| ProgramRuns {
                name: program.name.to_owned(),
                runs: program.count,
                run_time_ns: u64::try_from(program.time.as_nanos()).unwrap_or(u64::MAX),
            })
            .collect()
    };
    let mut probes: Vec<ProbeStatus> = told
        .states
        .iter()
        .map(|state| ProbeStatus {
            name: state.probe.name().to_owned(),
            about: state.probe.about().to_owned(),
            on: state.is_on,
            always_on: state.probe.is_always_on(),
            refusal: state.refusal.clone(),
            programs: programs(state.probe),
        })
        .collect();
    let controller = |controller| missing_controller(cgroup_root, controller);
    for (name, about, always_on, refusal) in [
        (
            "cpu-throttling",
            "time that CPU quotas took, from cpu.stat",
            true,
            controller("cpu"),
        ),
        (
            "memory",
            "memory, major page faults, from memory.stat",
            true,
            controller("memory"),
        ),
        (
            "profile",
            "stacks on a CPU, sampled while a profile is taken",
            false,
            told.profile_refusal.clone(),
        ),
        (
            "kernel-symbols",
            "names of the kernel's functions in profiles, from kallsyms",
            false,
            kallsyms::find().err(),
        ),
    ] {
        probes.push(ProbeStatus {
            name: name.to_owned(),
            about: about.to_owned(),
            on: always_on && refusal.is_none(),
            always_on,
            refusal,
            programs: Vec::new(),
        });
    }
    ProbeList { probes }
}
