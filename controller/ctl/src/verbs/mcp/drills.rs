//! Drills, as an agent takes them: the controller's, asked as the verbs of `drill` ask it.

use observastack_spec::scenario::answer::catalogue;
use rmcp::{
    handler::server::wrapper::Parameters, model::CallToolResult, schemars, tool, tool_router,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Lab, said};
use crate::{
    failure::Failure,
    verbs::drill::{diagnosis, drill, drills, entries, next_hint},
};

/// What happened last in a run, so much of it at once.
const ENTRIES: usize = 60;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Drill {
    /// Its name, as list_drills has it.
    id: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Start {
    /// Its name, as list_drills has it.
    id: String,
    /// What repeats it: the same seed gives the same timeline. 1 if left out.
    seed: Option<u64>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Status {
    /// Only what happened after the entry of this number; the last sixty if left out.
    after: Option<u64>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Diagnosis {
    /// Where it is wrong, such as api@1; diagnosis_catalogue has all.
    component: String,
    /// How, such as packet-loss.
    mechanism: String,
    /// Why, such as configuration.
    cause: String,
    /// What shows it, each as SIGNAL=COMPONENT, such as kernel.packet-drops=api@1; four at most.
    #[serde(default)]
    evidence: Vec<String>,
}

#[tool_router(router = drill_tools, vis = "pub(super)")]
impl Lab {
    /// The drills that there are: what each is about, how hard it is and how long it may take; its place in the order of learning, whether it was passed,
    /// and which drills that should come before it were not.
    #[tool(annotations(read_only_hint = true))]
    async fn list_drills(&self) -> Answer {
        Ok(said(
            async { drills(&self.asking.controller()?).await }.await,
        ))
    }

    /// What a drill is about, as whoever takes it is told at first.
    #[tool(annotations(read_only_hint = true))]
    async fn show_drill(&self, Parameters(Drill { id }): Parameters<Drill>) -> Answer {
        Ok(said(
            async { drill(&self.asking.controller()?, &id).await }.await,
        ))
    }

    /// Begins a drill: the lab goes to its baseline, which is verified under load, and then something breaks. That takes up to some minutes: ask `status`
    /// until the phase is `investigating`.
    #[tool]
    async fn start_drill(&self, Parameters(Start { id, seed }): Parameters<Start>) -> Answer {
        let wish = json!({"id": id, "seed": seed.unwrap_or(1)});
        Ok(said(self.say("/api/run", Some(&wish)).await))
    }

    /// How the run stands, what happened so far (reports of users, alerts, checks that hold or not), and its score once it has ended.
    #[tool(annotations(read_only_hint = true))]
    async fn status(&self, Parameters(Status { after }): Parameters<Status>) -> Answer {
        Ok(said(self.standing(after.unwrap_or(0)).await))
    }

    /// Everything that a diagnosis is chosen from, with what it means.
    #[tool(annotations(read_only_hint = true))]
    async fn diagnosis_catalogue(&self) -> Answer {
        let lines = |(kind, names): (&str, Vec<(&str, &str)>)| {
            let line = |(name, meaning)| Value::from(format!("{name}: {meaning}"));
            (kind.to_owned(), names.into_iter().map(line).collect())
        };
        let all: Map<String, Value> = catalogue().into_iter().map(lines).collect();
        Ok(said(Ok(all)))
    }

    /// Takes the next hint, which costs a part of the score.
    #[tool]
    async fn hint(&self) -> Answer {
        Ok(said(
            async { next_hint(&self.asking.controller()?).await }.await,
        ))
    }

    /// Says what is wrong. The last diagnosis counts; partly right ones earn a part.
    #[tool]
    async fn diagnose(&self, Parameters(one): Parameters<Diagnosis>) -> Answer {
        let diagnosed = async {
            let diagnosis = diagnosis(&one.component, &one.mechanism, &one.cause, &one.evidence)?;
            self.say("/api/run/diagnosis", Some(&json!(diagnosis)))
                .await
        };
        Ok(said(diagnosed.await))
    }

    /// Says that it is repaired. It is verified under live load then, which takes some ten seconds: ask `status` how that went.
    #[tool]
    async fn submit(&self) -> Answer {
        Ok(said(self.say("/api/run/submit", None).await))
    }

    /// Ends the run, and is told what was wrong.
    #[tool]
    async fn give_up(&self) -> Answer {
        Ok(said(self.say("/api/run/give-up", None).await))
    }

    /// What was wrong, what the diagnosis and the repair were worth, and how to do better; of a run that has ended.
    #[tool(annotations(read_only_hint = true))]
    async fn report(&self) -> Answer {
        let report = async {
            let controller = self.asking.controller()?;
            controller.text("/api/report").await
        };
        Ok(match report.await {
            Ok(text) => CallToolResult::success(super::text(&text)),
            Err(failure) => said(Err::<Value, _>(failure)),
        })
    }

    /// Brings the lab back to its baseline, once the report was read. Another drill can be begun when `status` has no run any more.
    #[tool]
    async fn reset(&self) -> Answer {
        Ok(said(self.say("/api/run/reset", None).await))
    }
}

impl Lab {
    /// The run, its score, and what happened in it after so many entries.
    async fn standing(&self, after: u64) -> Result<Value, Failure> {
        let controller = self.asking.controller()?;
        let mut now: Value = controller.get("/api/run").await?;
        let entries = entries(&controller, after).await?;
        now["entries"] = entries[entries.len().saturating_sub(ENTRIES)..].into();
        Ok(now)
    }
}
