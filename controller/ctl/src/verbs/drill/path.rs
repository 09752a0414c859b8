//! `drill path`: the order in which drills are learned, and how far one has come.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{controller::Controller, list::drills};
use crate::{failure::Failure, output};

/// Prints a line for each.
pub(super) async fn run(controller: &Controller, json: bool) -> Result<ExitCode, Failure> {
    let path = path(drills(controller).await?);
    if json {
        output::json(&path);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = path.iter().map(row).collect();
    output::line(output::table(
        &[
            "",
            "DRILL",
            "FOR",
            "STATE",
            "BEST",
            "AFTER",
            "ONE LEARNS TO",
        ],
        &rows,
    ));
    Ok(ExitCode::SUCCESS)
}

/// In the order of learning, each with its `state`: `passed`, `next` (one of them: the first that is not), `open`.
fn path(mut drills: Vec<Value>) -> Vec<Value> {
    drills.sort_by_key(|drill| drill["place"].as_u64());
    let mut has_next = false;
    for drill in &mut drills {
        let state = match (drill["history"]["passed"].as_bool(), has_next) {
            (Some(true), _) => "passed",
            (_, true) => "open",
            (_, false) => {
                has_next = true;
                "next"
            }
        };
        drill["state"] = json!(state);
    }
    drills
}

fn row(drill: &Value) -> Vec<String> {
    let text = |field: &str| drill[field].as_str().unwrap_or("").to_owned();
    let best = drill["history"]["best"].as_f64();
    vec![
        drill["place"].to_string(),
        text("id"),
        text("difficulty"),
        text("state"),
        best.map_or_else(String::new, |best| format!("{best:.1}")),
        names(&drill["prerequisites"]).join(", "),
        names(&drill["objectives"]).join("; "),
    ]
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

/// What to say to somebody who begins a drill without what comes before it; nothing where nothing is missing.
pub(super) fn missing(drill: &Value) -> Option<String> {
    let missing = names(&drill["missing"]);
    (!missing.is_empty()).then(|| {
        format!(
            "not passed yet, and good to know before: {} (`observastack-ctl drill path`)",
            missing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(id: &str, place: u64, passed: bool) -> Value {
        json!({"id": id, "place": place, "difficulty": "beginner", "objectives": ["see", "find"], "prerequisites": ["b"],
            "missing": [], "history": {"passed": passed, "attempts": 1, "best": passed.then_some(90.04)}})
    }

    #[test]
    fn the_first_that_was_not_passed_is_next() {
        let path = path(vec![
            drill("d", 4, false),
            drill("c", 3, true),
            drill("a", 1, true),
            drill("b", 2, false),
        ]);
        let states: Vec<_> = path
            .iter()
            .map(|drill| {
                (
                    drill["id"].as_str().unwrap(),
                    drill["state"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            states,
            [
                ("a", "passed"),
                ("b", "next"),
                ("c", "passed"),
                ("d", "open")
            ]
        );
        assert_eq!(
            row(&path[0]),
            ["1", "a", "beginner", "passed", "90.0", "b", "see; find"]
        );
    }

    #[test]
    fn what_is_missing_is_a_hint() {
        let mut one = drill("a", 1, false);
        assert_eq!(missing(&one), None);
        one["missing"] = json!(["b", "c"]);
        assert!(missing(&one).unwrap().contains("before: b, c ("));
    }
}
