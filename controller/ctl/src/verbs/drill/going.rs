//! `drill start|status|hint|submit|give-up|abort|reset`: a run, from its beginning to its end.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{
    controller::Controller,
    list::{brief, drill},
    path::missing,
};
use crate::{failure::Failure, output};

/// How often it is asked how the run stands.
const LOOK: Duration = Duration::from_millis(500);

/// Begin a drill, and wait until the incident has begun.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Its name.
    pub(super) id: String,
    /// What repeats it: the same times, the same noise.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

/// Begins one.
pub(super) async fn start(
    start: &Start,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    let drill = drill(controller, &start.id).await?;
    let brief = brief(&drill);
    if let Some(hint) = missing(&drill)
        && !json
    {
        output::line(hint);
    }
    let wish = json!({"id": start.id, "seed": start.seed});
    controller.say("/api/run", Some(&wish)).await?;
    if !json {
        output::line("the lab is prepared, and its baseline checked ...");
    }
    let now = until(controller, |phase| {
        !["preparing", "breaking"].contains(&phase)
    })
    .await?;
    if phase(&now) != "investigating" {
        return Err(Failure::Controller(ended(&now)));
    }
    if json {
        output::json(&now);
    } else {
        output::line(format!("\n{brief}\n\n{}", standing(&now, now_ms())));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how the run stands, and what happened lately.
pub(super) async fn status(controller: &Controller, json: bool) -> Result<ExitCode, Failure> {
    let now: Value = controller.get("/api/run").await?;
    if json {
        output::json(&now);
        return Ok(ExitCode::SUCCESS);
    }
    if now["run"].is_null() {
        output::line("no drill goes on; `observastack-ctl drill start ID` begins one");
        return Ok(ExitCode::SUCCESS);
    }
    output::line(standing(&now, now_ms()));
    for line in entries(controller, 0).await?.iter().filter_map(told) {
        output::line(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the next hint.
pub(super) async fn hint(controller: &Controller, json: bool) -> Result<ExitCode, Failure> {
    let hint = next_hint(controller).await?;
    if json {
        output::json(&hint);
    } else {
        output::line(told(&hint).unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

/// The next hint, which is taken by that.
pub(crate) async fn next_hint(controller: &Controller) -> Result<Value, Failure> {
    controller.say("/api/run/hint", None::<&()>).await?;
    let entries = entries(controller, 0).await?;
    let hint = entries.iter().rev().find(|entry| entry["what"] == "hint");
    Ok(hint.cloned().unwrap_or_default())
}

/// Says that it is repaired, and waits whether it holds.
pub(super) async fn submit(controller: &Controller, json: bool) -> Result<ExitCode, Failure> {
    controller.say("/api/run/submit", None::<&()>).await?;
    if !json {
        output::line("it has to hold now, under load ...");
    }
    let now = until(controller, |phase| phase != "verifying").await?;
    if json {
        output::json(&now);
    }
    if phase(&now) == "investigating" {
        let what = not_repaired(controller).await?;
        return Err(Failure::Controller(format!(
            "it is not repaired: {} does not hold",
            what.as_deref().unwrap_or("something")
        )));
    }
    if !json {
        output::line(ended(&now));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says something that ends a part of the run, and how it stands then.
pub(super) async fn say(
    path: &str,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    controller.say(path, None::<&()>).await?;
    let is_back = path != "/api/run/give-up";
    let now = until(controller, |phase| !is_back || phase.is_empty()).await?;
    if json {
        output::json(&now);
    } else if is_back {
        output::line("the lab is at its baseline");
    } else {
        output::line(ended(&now));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks until the run is where one wants it; empty stands for none.
pub(super) async fn until(
    controller: &Controller,
    is_there: impl Fn(&str) -> bool,
) -> Result<Value, Failure> {
    loop {
        let now: Value = controller.get("/api/run").await?;
        if is_there(phase(&now)) {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What did not hold, the last time that a repair was announced.
pub(super) async fn not_repaired(controller: &Controller) -> Result<Option<String>, Failure> {
    let entries = entries(controller, 0).await?;
    let last = entries
        .iter()
        .rev()
        .find(|entry| entry["what"] == "not-repaired");
    Ok(last.and_then(|entry| entry["check"].as_str().map(str::to_owned)))
}

/// What happened after an entry.
pub(crate) async fn entries(controller: &Controller, after: u64) -> Result<Vec<Value>, Failure> {
    let path = format!("/api/run/entries?after={after}");
    let all: Value = controller.get(&path).await?;
    Ok(all["entries"].as_array().cloned().unwrap_or_default())
}

/// Where the run is; empty where there is none.
pub(super) fn phase(now: &Value) -> &str {
    now["run"]["life"]["phase"].as_str().unwrap_or("")
}

/// How it ended, for people.
pub(super) fn ended(now: &Value) -> String {
    let score = &now["score"];
    if let (Some(verdict), Some(total)) = (score["verdict"].as_str(), score["total"].as_f64()) {
        return format!(
            "{verdict}: {total:.1} of 100 points; `observastack-ctl drill report` tells why"
        );
    }
    let outcome = &now["run"]["life"]["outcome"];
    match outcome["reason"].as_str() {
        Some(reason) => format!("the lab could not do its part: {reason}"),
        None => "the run has ended".to_owned(),
    }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// How it stands, on a line.
fn standing(now: &Value, now_ms: u64) -> String {
    let run = &now["run"];
    let left = run["until_ms"]
        .as_u64()
        .map(|until| until.saturating_sub(now_ms) / 1000);
    let left = left.map_or_else(String::new, |left| {
        format!(", {:02}:{:02} left", left / 60, left % 60)
    });
    let diagnosed = if run["is_diagnosed"] == true {
        ", diagnosed"
    } else {
        ""
    };
    format!(
        "run {} of {}: {}{left}, {} hints left{diagnosed}",
        run["run"],
        run["scenario"].as_str().unwrap_or(""),
        phase(now),
        run["hints_left"]
    )
}

/// An entry of the log, for people; nothing where it is of no use to them.
fn told(entry: &Value) -> Option<String> {
    let text = |field: &str| entry[field].as_str().unwrap_or("").to_owned();
    Some(match entry["what"].as_str()? {
        "told" => format!("{}: {}", text("from"), text("text")),
        "hint" => format!("hint {}: {}", entry["number"], text("text")),
        "checked" => {
            let holds = if entry["holds"] == true {
                "holds"
            } else {
                "does not hold"
            };
            format!("{} {holds}: {}", text("check"), text("found"))
        }
        "not-repaired" => format!("not repaired: {}", text("check")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_on_a_line() {
        let now = json!({"run": {"run": 3, "scenario": "a-drill", "life": {"phase": "investigating"}, "until_ms": 65_000, "hints_left": 2, "is_diagnosed": true}});
        assert_eq!(
            standing(&now, 0),
            "run 3 of a-drill: investigating, 01:05 left, 2 hints left, diagnosed"
        );
        let over = json!({"score": {"verdict": "pass", "total": 91.25}});
        assert!(
            ended(&over).starts_with("pass: 91.2 of 100"),
            "{}",
            ended(&over)
        );
        let failed =
            json!({"run": {"life": {"outcome": {"outcome": "lab-error", "reason": "no load"}}}});
        assert_eq!(ended(&failed), "the lab could not do its part: no load");
    }

    #[test]
    fn entries_are_told_that_people_have_a_use_for() {
        let entry = json!({"what": "told", "from": "user", "text": "slow!"});
        assert_eq!(told(&entry).unwrap(), "user: slow!");
        assert_eq!(told(&json!({"what": "phase", "phase": "x"})), None);
    }
}
