//! `drill list`, `drill show`: which drills there are.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::controller::Controller;
use crate::{failure::Failure, output};

/// Show a drill: what a learner may know of it.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its name.
    id: String,
}

/// Prints a line for each.
pub(super) async fn list(controller: &Controller, json: bool) -> Result<ExitCode, Failure> {
    let drills = drills(controller).await?;
    if json {
        output::json(&drills);
        return Ok(ExitCode::SUCCESS);
    }
    let text = |drill: &Value, field: &str| drill[field].as_str().unwrap_or("").to_owned();
    let rows: Vec<_> = drills
        .iter()
        .map(|drill| {
            vec![
                text(drill, "id"),
                text(drill, "severity"),
                text(drill, "difficulty"),
                text(drill, "topic"),
                format!("{} min", drill["minutes"]),
                text(drill, "title"),
            ]
        })
        .collect();
    output::line(output::table(
        &["DRILL", "SEVERITY", "DIFFICULTY", "TOPIC", "TIME", "TITLE"],
        &rows,
    ));
    Ok(ExitCode::SUCCESS)
}

/// Prints one.
pub(super) async fn show(
    show: &Show,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    let drill = drill(controller, &show.id).await?;
    if json {
        output::json(&drill);
    } else {
        output::line(brief(&drill));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a learner may know of each.
pub(crate) async fn drills(controller: &Controller) -> Result<Vec<Value>, Failure> {
    let all: Value = controller.get("/api/drills").await?;
    Ok(all["drills"].as_array().cloned().unwrap_or_default())
}

/// What a learner may know of one.
pub(crate) async fn drill(controller: &Controller, id: &str) -> Result<Value, Failure> {
    let all = drills(controller).await?;
    let names: Vec<String> = all
        .iter()
        .filter_map(|drill| drill["id"].as_str().map(str::to_owned))
        .collect();
    let found = all.into_iter().find(|drill| drill["id"] == json!(id));
    found.ok_or_else(|| {
        Failure::Usage(format!(
            "there is no drill `{id}`; there are {}",
            names.join(", ")
        ))
    })
}

/// The memory that it takes, where it takes much. Capabilities of the kernel would tell what is broken; whoever lacks one is told when the drill is refused.
fn needs(drill: &Value) -> Option<String> {
    let mib = drill["needs"]["memory-mib"].as_u64()?;
    (mib > 0).then(|| format!("{mib} MiB of memory"))
}

/// The briefing, for people.
pub(super) fn brief(drill: &Value) -> String {
    let text = |field: &str| drill[field].as_str().unwrap_or("").trim().to_owned();
    let list = |field: &str| -> String {
        let items = drill[field].as_array().into_iter().flatten();
        items
            .filter_map(Value::as_str)
            .map(|item| format!("  - {item}\n"))
            .collect()
    };
    let needs = needs(drill).map_or_else(String::new, |needs| format!("\nIt needs {needs}."));
    format!(
        "{} ({}, {}, {} minutes)\n\n{}\n\nAfterwards you can\n{}{needs}",
        text("title"),
        text("severity"),
        text("difficulty"),
        drill["minutes"],
        text("briefing"),
        list("objectives")
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drill_needs_is_told() {
        let mut drill = json!({"title": "Slow", "objectives": ["see"], "needs": {"capabilities": [], "memory-mib": 0}});
        assert_eq!(needs(&drill), None);
        assert!(brief(&drill).ends_with("- see"), "{}", brief(&drill));
        drill["needs"] = json!({"capabilities": ["cgroup-skb"], "memory-mib": 2048});
        let told = brief(&drill);
        assert!(
            told.ends_with("- see\n\nIt needs 2048 MiB of memory."),
            "{told}"
        );
    }
}
