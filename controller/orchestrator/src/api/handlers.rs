//! What each route does.

use axum::{
    Extension, Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use observastack_spec::{
    drill::{
        document::{html, markdown},
        log::Happened,
    },
    scenario::answer::{self, Diagnosis},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, Role, Route, description, events, failure::Failure, routes::What};
use crate::runner::Command;

type Answer = Result<Response, Failure>;

/// Runs in a list, at most.
const MOST_RUNS: usize = 1000;
/// Records on a page, at most: each is read as a whole.
const MOST_RECORDS: usize = 500;

/// The handler of a route. One that shares its path with another is merged with it.
pub(super) fn of(route: &Route) -> MethodRouter<Context> {
    match route.what {
        What::Description => get(async || Json(description()).into_response()),
        What::Drills => get(drills),
        What::Catalogue => get(async || Json(catalogue()).into_response()),
        What::Now => get(now),
        What::Start => post(start),
        What::Hint => post(async |of, who| say(of, who, Command::Hint).await),
        What::Diagnose => post(diagnose),
        What::Submit => post(async |of, who| say(of, who, Command::Submit).await),
        What::GiveUp => post(async |of, who| say(of, who, Command::GiveUp).await),
        What::Abort => post(async |of, who| say(of, who, Command::Abort).await),
        What::Reset => post(async |of, who| say(of, who, Command::Reset).await),
        What::Did => post(did),
        What::Entries => get(entries),
        What::Events => get(follow),
        What::Report => get(report),
        What::History => get(history),
        What::Export => get(export),
    }
}

/// Says it, and answers how everything stands then.
async fn say(
    State(context): State<Context>,
    Extension(role): Extension<Role>,
    command: Command,
) -> Answer {
    let reader = role.reader();
    context.engine.say(command, reader).await??;
    Ok(Json(context.engine.now(reader).await?).into_response())
}

async fn drills(State(context): State<Context>, Extension(role): Extension<Role>) -> Answer {
    let drills = context.engine.offers(role.reader()).await??;
    Ok(Json(json!({"drills": drills})).into_response())
}

async fn now(State(context): State<Context>, Extension(role): Extension<Role>) -> Answer {
    Ok(Json(context.engine.now(role.reader()).await?).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    id: String,
    #[serde(default = "first")]
    seed: u64,
}

fn first() -> u64 {
    1
}

async fn start(
    of: State<Context>,
    who: Extension<Role>,
    body: Result<Json<Start>, JsonRejection>,
) -> Answer {
    let Json(Start { id, seed }) = body?;
    let said = say(of, who, Command::Start { id, seed }).await?;
    Ok((StatusCode::CREATED, said).into_response())
}

async fn diagnose(
    of: State<Context>,
    who: Extension<Role>,
    body: Result<Json<Diagnosis>, JsonRejection>,
) -> Answer {
    let Json(diagnosis) = body?;
    say(of, who, Command::Diagnose(diagnosis)).await
}

async fn did(
    of: State<Context>,
    who: Extension<Role>,
    body: Result<Json<Happened>, JsonRejection>,
) -> Answer {
    let Json(what) = body?;
    say(of, who, Command::Did(what)).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    after: Option<String>,
}

async fn entries(
    State(context): State<Context>,
    Extension(role): Extension<Role>,
    query: Result<Query<After>, QueryRejection>,
) -> Answer {
    let Query(After { after }) = query?;
    let (run, entries) = context
        .engine
        .entries(after.unwrap_or(0), role.reader())
        .await??;
    Ok(Json(json!({"run": run, "entries": entries})).into_response())
}

async fn follow(
    State(context): State<Context>,
    Extension(role): Extension<Role>,
    headers: HeaderMap,
    query: Result<Query<Last>, QueryRejection>,
) -> Answer {
    let Query(Last { after }) = query?;
    // What a browser says when it comes again.
    let last = headers.get("last-event-id");
    let last = last.and_then(|id| events::Seen::of(id.to_str().ok()?));
    let asked = match after.as_deref() {
        Some(after) => Some(events::Seen::of(after).ok_or_else(|| {
            Failure::bad(format!(
                "after={after} is not allowed; use the id of an event, such as 3-17"
            ))
        })?),
        None => None,
    };
    Ok(events::stream(
        context.engine,
        role.reader(),
        last.or(asked).unwrap_or_default(),
    ))
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Markdown,
    Html,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    #[default]
    Debrief,
    Postmortem,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    run: Option<i64>,
    #[serde(default)]
    form: Form,
    #[serde(default)]
    part: Part,
}

async fn report(
    State(context): State<Context>,
    Extension(role): Extension<Role>,
    query: Result<Query<Which>, QueryRejection>,
) -> Answer {
    let Query(Which { run, form, part }) = query?;
    let run = match run {
        Some(run) => Some(run),
        // The one that goes on, or the last one.
        None => match context.engine.now(role.reader()).await?.run {
            Some(standing) => Some(standing.run),
            None => context
                .engine
                .history(1, role.reader())
                .await??
                .first()
                .map(|past| past.run),
        },
    };
    let report = context.engine.report(run, role.reader()).await??;
    let report = report.ok_or_else(|| {
        Failure::none("there is no report: no such run, it goes on, it was aborted, it is not yours, or its drill is being taken now")
    })?;
    let blocks = match part {
        Part::Debrief => &report.debrief,
        Part::Postmortem => &report.postmortem,
    };
    Ok(match form {
        Form::Markdown => {
            let kind = [(CONTENT_TYPE, "text/markdown; charset=utf-8")];
            (kind, markdown(blocks)).into_response()
        }
        Form::Html => Html(html(&report.title, blocks)).into_response(),
        Form::Json => Json(json!({
            "run": report.run,
            "title": report.title,
            "score": report.score,
            "text": markdown(blocks),
        }))
        .into_response(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: Option<usize>,
}

async fn history(
    State(context): State<Context>,
    Extension(role): Extension<Role>,
    query: Result<Query<Limit>, QueryRejection>,
) -> Answer {
    let Query(Limit { limit }) = query?;
    let limit = limit.unwrap_or(50);
    if !(1..=MOST_RUNS).contains(&limit) {
        return Err(Failure::bad(format!(
            "limit={limit} is not allowed; use 1 to {MOST_RUNS}"
        )));
    }
    let runs = context.engine.history(limit, role.reader()).await??;
    Ok(Json(json!({"runs": runs})).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    since_ms: u64,
    limit: Option<usize>,
}

async fn export(
    State(context): State<Context>,
    query: Result<Query<Page>, QueryRejection>,
) -> Answer {
    let Query(page) = query?;
    let limit = page.limit.unwrap_or(MOST_RECORDS);
    if !(1..=MOST_RECORDS).contains(&limit) {
        return Err(Failure::bad(format!(
            "limit={limit} is not allowed; use 1 to {MOST_RECORDS}"
        )));
    }
    let records = context
        .engine
        .export(page.after, page.since_ms, limit)
        .await??;
    // A page that is not full is the last one.
    let next = records.last().map(|last| last.run);
    let next = next.filter(|_| records.len() == limit);
    Ok(Json(json!({"runs": records, "next": next})).into_response())
}

fn catalogue() -> Value {
    let named = |(name, meaning)| json!({"name": name, "meaning": meaning});
    answer::catalogue()
        .into_iter()
        .map(|(kind, names)| {
            let names: Value = names.into_iter().map(named).collect();
            (kind, names)
        })
        .collect()
}
