//! `drill export`: a record of each run that is over, for whoever leads a team.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{controller::Controller, csv::csv};
use crate::{failure::Failure, output};

/// Fields of a record that are written as they are, in this order, with where they are.
const FIELDS: [(&str, &str); 25] = [
    ("run", "/run"),
    ("drill", "/drill"),
    ("version", "/version"),
    ("seed", "/seed"),
    ("begun_by", "/begun_by"),
    ("mode", "/mode"),
    ("began", "/began_ms"),
    ("ended", "/ended_ms"),
    ("verdict", "/verdict"),
    ("score", "/score"),
    ("points_mitigation", "/points/mitigation"),
    ("points_diagnosis", "/points/diagnosis"),
    ("points_speed", "/points/speed"),
    ("points_users", "/points/users"),
    ("points_collateral", "/points/collateral"),
    ("points_hints", "/points/hints"),
    ("detect_ms", "/detect_ms"),
    ("diagnose_ms", "/diagnose_ms"),
    ("repair_ms", "/repair_ms"),
    ("hints", "/hints"),
    ("commands", "/commands"),
    ("due", "/due"),
    ("failed", "/failed"),
    ("slow", "/slow"),
    ("budget_burnt", "/budget_burnt"),
];
/// Lists.
const LISTS: [&str; 2] = ["collateral", "shortcuts"];

/// Export a record of each run that is over (instructors): what it was worth, how long it took, what users went through.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Its form; `--json` stands for json.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Only runs that were begun then or later: a date, or a date and a time of UTC, such as 2026-01-31 or 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    since: Option<SystemTime>,
    /// Write it to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// RFC 4180: for spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// Prints or writes it.
pub(super) async fn run(
    export: &Export,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    let records = records(export.since, controller).await?;
    let text = if json || export.format == Format::Json {
        format!("{:#}\n", Value::Array(records))
    } else {
        table(&records)
    };
    match &export.output {
        Some(file) => fs::write(file, text).map_err(|source| Failure::Io {
            what: format!("cannot write {}", file.display()),
            source,
        })?,
        // The last line's end is printed anyway.
        None => output::line(text.strip_suffix('\n').unwrap_or(&text)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Every page of them.
async fn records(
    since: Option<SystemTime>,
    controller: &Controller,
) -> Result<Vec<Value>, Failure> {
    let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    let since_ms = since.unwrap_or_default().as_millis();
    let (mut records, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/api/export?since_ms={since_ms}&after={after}");
        let page: Value = controller.get(&path).await?;
        records.extend(page["runs"].as_array().cloned().unwrap_or_default());
        match page["next"].as_i64() {
            Some(next) if next > after => after = next,
            _ => return Ok(records),
        }
    }
}

fn table(records: &[Value]) -> String {
    let header: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).chain(LISTS).collect();
    let row = |record: &Value| {
        let fields = FIELDS.iter().map(|(name, at)| {
            let value = record.pointer(at).unwrap_or(&Value::Null);
            match (*name, value) {
                ("began" | "ended", value) => value.as_u64().map_or_else(String::new, time),
                (_, Value::Null) => String::new(),
                (_, Value::String(text)) => text.clone(),
                (_, other) => other.to_string(),
            }
        });
        let lists = LISTS.iter().map(|name| {
            let items = record[*name].as_array().into_iter().flatten();
            items
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        });
        fields.chain(lists).collect()
    };
    csv(&header, &records.iter().map(row).collect::<Vec<_>>())
}

fn time(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// A date, which is its first moment, or a moment; both of UTC.
fn moment(text: &str) -> Result<SystemTime, String> {
    let whole = format!("{text}T00:00:00Z");
    humantime::parse_rfc3339(&whole)
        .or_else(|_| humantime::parse_rfc3339_weak(text))
        .map_err(|_| {
            "use a date, or a date and a time of UTC, such as 2026-01-31 or 2026-01-31T08:00:00Z"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_a_row_and_what_is_not_known_is_empty() {
        let records = [
            json!({"run": 3, "drill": "a-drill", "version": 1, "seed": 7, "begun_by": "learner", "mode": "open", "began_ms": 1_500,
                "ended_ms": 61_000, "verdict": "pass", "score": 87.5, "points": {"mitigation": 45.0, "hints": -4.5},
                "detect_ms": 1000, "diagnose_ms": 2000, "repair_ms": 3000, "hints": 1, "commands": 12, "due": 4000, "failed": 20,
                "slow": 5, "budget_burnt": 1.0, "collateral": ["gateway", "api@2"], "shortcuts": []}),
            json!({"run": 4, "drill": "a-drill", "verdict": "aborted", "points": {}, "score": null, "collateral": [], "shortcuts": ["load-stopped"]}),
        ];
        let text = table(&records);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with(
            "run,drill,version,seed,begun_by,mode,began,ended,verdict,score,points_mitigation,"
        ));
        assert_eq!(
            lines[1],
            "3,a-drill,1,7,learner,open,1970-01-01T00:00:01.500Z,1970-01-01T00:01:01.000Z,pass,87.5,45.0,,,,,-4.5,1000,2000,3000,1,12,4000,20,5,1.0,gateway api@2,"
        );
        assert_eq!(
            lines[2],
            "4,a-drill,,,,,,,aborted,,,,,,,,,,,,,,,,,,load-stopped"
        );
        for line in &lines[..3] {
            assert_eq!(
                line.split(',').count(),
                FIELDS.len() + LISTS.len(),
                "{line}"
            );
        }
    }

    #[test]
    fn dates_and_moments_are_of_utc() {
        let seconds = |text| {
            let moment = moment(text).unwrap();
            moment.duration_since(UNIX_EPOCH).unwrap().as_secs()
        };
        assert_eq!(seconds("1970-01-02"), 86_400);
        assert_eq!(seconds("1970-01-02T00:00:05Z"), 86_405);
        assert_eq!(seconds("1970-01-02 00:00:05"), 86_405);
        for text in ["", "yesterday", "2026-13-01", "01.02.2026"] {
            assert!(moment(text).unwrap_err().contains("2026-01-31"), "{text}");
        }
    }
}
