//! `logs`: what the services have said, found or as it comes.

use std::{
    collections::HashSet,
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    collector::{Between, Collector, Query, short, unit},
    failure::Failure,
    output,
};

/// Show log records: found by their words, level, unit, time and trace, or as they come.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Words, or beginnings of words, that are all in it.
    words: Vec<String>,
    /// This bad or worse: trace, debug, info, warn, error, fatal.
    #[arg(long)]
    level: Option<String>,
    /// Of this unit, such as api@1.
    #[arg(long)]
    unit: Option<String>,
    /// Of this service: all of its units.
    #[arg(long)]
    service: Option<String>,
    /// Written during this trace.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    #[command(flatten)]
    between: Between,
    /// The newest so many; 10 before what follows.
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
}

/// A record as the collector tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    time_us: u64,
    level: String,
    unit: String,
    body: String,
    #[serde(default)]
    trace_id: Option<String>,
    #[serde(default)]
    attributes: Option<Map<String, Value>>,
}

impl Record {
    /// The same where everything shown is of one trace.
    pub(crate) fn without_trace(mut self) -> Self {
        self.trace_id = None;
        self
    }
}

/// Prints them, the oldest first.
pub(crate) async fn run(
    logs: &Logs,
    collector: &Collector,
    json: bool,
) -> Result<ExitCode, Failure> {
    let limit = logs.limit.unwrap_or(if logs.follow { 10 } else { 100 });
    if limit == 0 && !logs.follow {
        return Err(Failure::Usage("--limit 0: use 1 or more".to_owned()));
    }
    // First listened, then looked: nothing falls in between, and what is in both is shown once.
    let tail = if logs.follow {
        Some(collector.open("/api/logs/tail", &conditions(logs)).await?)
    } else {
        None
    };
    let mut found = if limit == 0 {
        Vec::new()
    } else {
        let query = conditions(logs).between(&logs.between);
        collector.search("/api/logs", query, "logs", limit).await?
    };
    found.reverse();
    if json && tail.is_none() {
        output::json(&json!({ "logs": found }));
        return Ok(ExitCode::SUCCESS);
    }
    for record in &found {
        show(record, json);
    }
    match tail {
        Some(tail) => follow(tail.into_body(), &found, json).await,
        None if found.is_empty() => {
            output::line("no log records");
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

fn conditions(logs: &Logs) -> Query {
    Query::default()
        .with(
            "text",
            Some(logs.words.join(" ")).filter(|text| !text.is_empty()),
        )
        .with("level", logs.level.as_ref())
        .with("unit", logs.unit.as_deref().map(unit))
        .with("service", logs.service.as_ref())
        .with("trace_id", logs.trace.as_ref())
}

/// Prints what comes until the collector ends.
async fn follow(mut body: Incoming, shown: &[Value], json: bool) -> Result<ExitCode, Failure> {
    let mut shown: HashSet<String> = shown.iter().map(Value::to_string).collect();
    let mut pending = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
        for event in events(&mut pending) {
            match event {
                Event::Log(record) if shown.remove(&record.to_string()) => {}
                Event::Log(record) => show(&record, json),
                Event::Missed => eprintln!("warning: some records came too fast to be shown"),
            }
        }
    }
    Err(Failure::Ended("the collector has ended".to_owned()))
}

#[derive(Debug, PartialEq)]
enum Event {
    Log(Value),
    Missed,
}

/// Takes whole server-sent events off the beginning of what has arrived.
fn events(pending: &mut Vec<u8>) -> Vec<Event> {
    let mut found = Vec::new();
    while let Some(end) = pending.windows(2).position(|two| two == b"\n\n") {
        let event: Vec<u8> = pending.drain(..end + 2).collect();
        let text = String::from_utf8_lossy(&event);
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        match (field("event: "), field("data: ")) {
            (Some("log"), Some(data)) => {
                found.extend(serde_json::from_str(data).ok().map(Event::Log));
            }
            (Some("missed"), _) => found.push(Event::Missed),
            _ => {}
        }
    }
    found
}

fn show(record: &Value, json: bool) {
    if json {
        output::json_line(record);
    } else if let Ok(record) = Record::deserialize(record) {
        output::line(text(&record));
    }
}

/// A record for people: when, how bad, who, what, and the rest.
pub(crate) fn text(record: &Record) -> String {
    let mut line = format!(
        "{} {:5} {:9} {}",
        time(record.time_us),
        record.level.to_uppercase(),
        short(&record.unit),
        record.body.trim_end()
    );
    let attributes = record.attributes.iter().flatten();
    // Where in the source it was written, and the ids once more, are for programs.
    let told = |name: &str| name.starts_with("log.") || ["trace_id", "span_id"].contains(&name);
    for (name, value) in attributes.filter(|(name, _)| !told(name)) {
        line.push_str(&format!(" {name}={}", output::value(value)));
    }
    if let Some(trace) = &record.trace_id {
        line.push_str(&format!(" trace={trace}"));
    }
    line
}

/// A time for people, in UTC.
pub(crate) fn time(time_us: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(time_us);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_with_all_that_it_says() {
        let record = json!({
            "time_us": 1_500_000, "level": "warn", "severity": 13, "service": "observastack-api", "unit": "observastack-api@1.service",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": null, "body": "slow", "attributes": {"log.line": 7, "status": 503, "trace_id": "0", "why": "late"}
        });
        assert_eq!(
            text(&Record::deserialize(&record).unwrap()),
            "1970-01-01T00:00:01.500Z WARN  api@1     slow status=503 why=late trace=0af7651916cd43dd8448eb211c80319c"
        );
    }

    #[test]
    fn events_are_taken_when_they_are_whole() {
        let mut pending = b": listening\n\nevent: log\ndata: {\"body\":\"a\"}\n\nevent: missed\ndata: {\"batches\":2}\n\nevent: log\nda".to_vec();
        assert_eq!(
            events(&mut pending),
            [Event::Log(json!({"body": "a"})), Event::Missed]
        );
        pending.extend_from_slice(b"ta: {}\n\n");
        assert_eq!(events(&mut pending), [Event::Log(json!({}))]);
        assert!(pending.is_empty());
    }
}
