//! `drill report`, `drill history`: what is told afterwards.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::controller::Controller;
use crate::{failure::Failure, output};

/// Show what was wrong, what it is worth and how to do better; or a postmortem that is begun.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Which run; the last one if left out.
    #[arg(long, value_name = "N")]
    run: Option<i64>,
    /// The postmortem instead of the debrief.
    #[arg(long)]
    postmortem: bool,
    /// Its form.
    #[arg(long, value_enum, default_value = "markdown")]
    form: Form,
    /// Write it to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For reading as it is.
    Markdown,
    /// A page.
    Html,
    /// For programs.
    Json,
}

/// Prints or writes it.
pub(super) async fn report(
    report: &Report,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    let form = match (report.form, json) {
        (_, true) | (Form::Json, _) => "json",
        (Form::Html, false) => "html",
        (Form::Markdown, false) => "markdown",
    };
    let part = if report.postmortem {
        "postmortem"
    } else {
        "debrief"
    };
    let run = report
        .run
        .map_or_else(String::new, |run| format!("&run={run}"));
    let text = controller
        .text(&format!("/api/report?form={form}&part={part}{run}"))
        .await?;
    match &report.output {
        Some(file) => fs::write(file, text).map_err(|source| Failure::Io {
            what: format!("cannot write {}", file.display()),
            source,
        })?,
        None => output::line(text.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the last runs.
pub(super) async fn history(controller: &Controller, json: bool) -> Result<ExitCode, Failure> {
    let all: Value = controller.get("/api/history").await?;
    if json {
        output::json(&all["runs"]);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = all["runs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|run| {
            let score = &run["score"];
            let began = run["began_ms"].as_u64().unwrap_or(0);
            let began = std::time::UNIX_EPOCH + std::time::Duration::from_millis(began);
            let verdict = match (run["is_open"].as_bool(), score["verdict"].as_str()) {
                (Some(true), _) => "goes on",
                (_, Some(verdict)) => verdict,
                _ => "aborted",
            };
            vec![
                run["run"].to_string(),
                humantime::format_rfc3339_seconds(began).to_string(),
                run["scenario"].as_str().unwrap_or("").to_owned(),
                verdict.to_owned(),
                score["total"]
                    .as_f64()
                    .map_or_else(String::new, |total| format!("{total:.1}")),
            ]
        })
        .collect();
    output::line(output::table(
        &["RUN", "BEGAN", "DRILL", "VERDICT", "POINTS"],
        &rows,
    ));
    Ok(ExitCode::SUCCESS)
}
