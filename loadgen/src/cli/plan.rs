//! From arguments, or a shape, to what is done.

use std::{fs, path::Path, sync::Arc};

use http::{HeaderName, Uri};
use observastack_loadgen::{
    engine::Arrival,
    http::{Request, Template, literal},
    schedule::{self, Profile, Segment, Spacing},
    shape::{self, Shape},
    threshold::Threshold,
    workload::{Step, Workload},
};

use super::run::Run;

/// What is done.
pub(super) struct Planned {
    pub(super) name: Option<String>,
    pub(super) target: Uri,
    pub(super) workload: Arc<Workload>,
    pub(super) arrival: Arrival,
    pub(super) connections: usize,
    pub(super) thresholds: Vec<Threshold>,
}

/// Or what is wrong, in words.
pub(super) fn plan(run: &Run) -> Result<Planned, String> {
    let mut planned = match &run.file {
        Some(file) => of_shape(run, file)?,
        None => of_flags(run)?,
    };
    for text in &run.threshold {
        let threshold = Threshold::parse(text).map_err(|error| error.to_string())?;
        planned.thresholds.push(threshold);
    }
    Ok(planned)
}

/// A shape of the library, or a file.
fn read_shape(file: &Path, seed: Option<u64>) -> Result<Shape, String> {
    let name = file.display();
    let named = file.to_str().and_then(shape::named);
    let text = match named {
        Some(named) => named.text.to_owned(),
        None => fs::read_to_string(file).map_err(|error| {
            format!("cannot read {name}: {error}; `shapes` lists those of the library")
        })?,
    };
    let shape = shape::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    Ok(shape.with_seed(seed))
}

fn of_shape(run: &Run, file: &Path) -> Result<Planned, String> {
    let shape = read_shape(file, run.seed)?;
    Ok(Planned {
        name: shape.name,
        target: run.target.clone().unwrap_or(shape.target),
        workload: shape.workload,
        connections: shape
            .arrival
            .connections(run.connections.or(shape.connections)),
        arrival: shape.arrival,
        thresholds: shape.thresholds,
    })
}

fn of_flags(run: &Run) -> Result<Planned, String> {
    let target = run.target.clone().ok_or("a target is needed")?;
    if run.timeout.is_zero() {
        return Err("--timeout 0s: nothing is answered in no time".to_owned());
    }
    let seed = run.seed.unwrap_or(1);
    let arrival = arrival(run)?;
    Ok(Planned {
        name: None,
        workload: Arc::new(Workload::of(step(run, &target)?, seed)),
        connections: arrival.connections(run.connections),
        target,
        arrival,
        thresholds: Vec::new(),
    })
}

fn step(run: &Run, target: &Uri) -> Result<Step, String> {
    let body = match run.body.as_deref() {
        None => String::new(),
        Some(body) => match body.strip_prefix('@') {
            Some(file) => {
                fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?
            }
            None => body.to_owned(),
        },
    };
    let path = literal(target.path_and_query().map_or("/", |path| path.as_str()));
    let headers: Vec<(HeaderName, String)> = run
        .header
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.clone(), literal(&value))
        })
        .collect();
    let request = Request {
        method: &run.method,
        target,
        path: &path,
        headers: &headers,
        body: &literal(&body),
        keep_alive: !run.new_connections,
    };
    let template = Template::new(&request, &[]).map_err(|error| error.to_string())?;
    let mut step = Step::new(&format!("{} {}", run.method, target.path()), template);
    step.keep_alive = !run.new_connections;
    step.statuses.clone_from(&run.status);
    step.timeout = run.timeout;
    Ok(step)
}

fn arrival(run: &Run) -> Result<Arrival, String> {
    if let (Some(users), Some(length)) = (run.users, run.length) {
        if length.is_zero() {
            return Err("--for 0s: nothing would be sent".to_owned());
        }
        return Ok(Arrival::Closed {
            users: users as usize,
            think: run.think,
            length,
        });
    }
    let stages: Vec<String> = match (&run.rate, run.length) {
        (Some(rate), Some(length)) => {
            vec![format!("{rate} for {}", humantime::format_duration(length))]
        }
        _ => run.stage.clone(),
    };
    let mut segments: Vec<Segment> = Vec::new();
    for stage in &stages {
        segments.extend(schedule::parse(stage).map_err(|error| error.to_string())?);
    }
    if let Some(file) = &run.replay {
        let name = file.display();
        let text =
            fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        segments.extend(schedule::replay(&text).map_err(|error| format!("{name}: {error}"))?);
    }
    let profile = Profile::new(segments);
    if profile.arrivals() < 1.0 {
        return Err(
            "nothing would be sent: give --rate and --for, --stage, --replay, or --users and --for"
                .to_owned(),
        );
    }
    let spacing = if run.poisson {
        Spacing::Poisson
    } else {
        Spacing::Even
    };
    Ok(Arrival::Open { profile, spacing })
}
