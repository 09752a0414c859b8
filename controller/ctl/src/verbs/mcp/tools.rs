//! What an agent may call.

use std::time::Duration;

use observastack_spec::scenario::answer::{Cause, Component, Mechanism, Signal};
use rmcp::{
    ErrorData, ServerHandler,
    handler::server::wrapper::Parameters,
    model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig},
    schemars, tool, tool_handler, tool_router,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Lab, said, shell};
use crate::failure::Failure;

/// How long a command may take if nothing is said, and at most.
const COMMAND_S: u64 = 30;
const LONGEST_COMMAND_S: u64 = 600;
/// Bytes of a command that are kept in the run's log.
const LOGGED: usize = 4 << 10;
/// What happened last in a run, so much of it at once.
const ENTRIES: usize = 60;
/// How long the kernel may look for one tool call.
const LONGEST_LOOK_S: u64 = 120;

const INSTRUCTIONS: &str = "\
A shop runs on this Linux machine as systemd units: gateway (port 8000), api@1, api@2, inventory, postgresql. A drill breaks something of it. \
Call list_drills and start_drill, wait until status says `investigating`, find out what is wrong with the signals and the shell, say so with diagnose, \
repair it, and call submit: the repair has to hold under live load, so ask status until its phase is `debrief`. Hints cost a part of the score. \
Stopping the load, shedding traffic, stopping units or switching telemetry off is no repair. `observastack-ctl config get|set SERVICE` reads and changes a \
service's configuration.";

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

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Metrics {
    /// In PromQL, such as instance:http_errors:ratio_rate1m.
    query: String,
    /// How it went since so long ago, such as 15m; its value now if left out.
    since: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Logs {
    /// Words, or beginnings of words, that are all in it.
    words: Option<String>,
    /// This bad or worse: trace, debug, info, warn, error, fatal.
    level: Option<String>,
    /// Of this unit, such as api@1.
    unit: Option<String>,
    /// Since so long ago, such as 10m; an hour if left out.
    since: Option<String>,
    /// The newest so many; 100 if left out.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Traces {
    /// A span of this service, such as observastack-api.
    service: Option<String>,
    /// That took this long or longer, such as 250ms.
    min_duration: Option<String>,
    /// That ended so: unset, ok, error.
    status: Option<String>,
    /// Since so long ago, such as 10m; an hour if left out.
    since: Option<String>,
    /// The newest so many; 20 if left out.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Trace {
    /// Its 32 hexadecimal digits, as find_traces and logs have them.
    id: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Profile {
    /// The unit, such as api@1.
    unit: String,
    /// Since so long ago, such as 10m; an hour if left out.
    since: Option<String>,
}

/// What the kernel can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum View {
    /// All units side by side: CPU, waits for a CPU, TCP, packets thrown away, block I/O.
    Top,
    /// A unit's system calls: how often, which errors, how long.
    Syscalls,
    /// What a unit's tasks sleep in.
    OffCpu,
    /// A unit's system calls, one by one, as they happen.
    TraceSyscalls,
    /// A unit's TCP sockets: states, segments sent again, resets, as they happen.
    TraceTcp,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Kernel {
    /// What to look at.
    view: View,
    /// The unit, such as api@1; all views but `top` need one.
    unit: Option<String>,
    /// For how many seconds, 1 to 120; 5 if left out.
    seconds: Option<u64>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shell {
    /// As sh -c takes it.
    command: String,
    /// It is ended after so many seconds, 1 to 600; 30 if left out.
    timeout_s: Option<u64>,
}

type Answer = Result<CallToolResult, ErrorData>;

/// A number that has to lie in a range; the complaint says which.
fn within(
    name: &str,
    value: Option<u64>,
    usual: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ErrorData> {
    let value = value.unwrap_or(usual);
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    let words = format!("{name}: {value} is not allowed; use {least} to {most}");
    Err(ErrorData::invalid_params(words, None))
}

/// Options that were given, as words of a command line.
fn options(given: &[(&str, Option<String>)]) -> Vec<String> {
    let one = |(name, value): &(&str, Option<String>)| Some(format!("{name}={}", value.as_ref()?));
    given.iter().filter_map(one).collect()
}

/// Words of a verb: its name, then its options, then what it is about, which may begin with a dash.
fn line<'a>(verb: &[&'a str], options: &'a [String], rest: &[&'a str]) -> Vec<&'a str> {
    let options = options.iter().map(String::as_str);
    verb.iter()
        .copied()
        .chain(options)
        .chain(["--"])
        .chain(rest.iter().copied())
        .collect()
}

#[tool_router]
impl Lab {
    /// The drills that there are: what each is about, how hard it is and how long it may take.
    #[tool(annotations(read_only_hint = true))]
    async fn list_drills(&self) -> Answer {
        self.verb(&["--json", "drill", "list"]).await
    }

    /// What a drill is about, as whoever takes it is told at first.
    #[tool(annotations(read_only_hint = true))]
    async fn show_drill(&self, Parameters(Drill { id }): Parameters<Drill>) -> Answer {
        self.verb(&["--json", "drill", "show", "--", &id]).await
    }

    /// Begins a drill: the lab goes to its baseline, which is verified under load, and then something breaks. That takes up to some minutes: ask `status`
    /// until the phase is `investigating`.
    #[tool]
    async fn start_drill(&self, Parameters(Start { id, seed }): Parameters<Start>) -> Answer {
        let wish = json!({"id": id, "seed": seed.unwrap_or(1)});
        Ok(self.say("/api/run", Some(&wish)).await)
    }

    /// How the run stands, what happened so far (reports of users, alerts, checks that hold or not), and its score once it has ended.
    #[tool(annotations(read_only_hint = true))]
    async fn status(&self, Parameters(Status { after }): Parameters<Status>) -> Answer {
        Ok(said(self.standing(after.unwrap_or(0)).await))
    }

    /// Everything that a diagnosis is chosen from, with what it means.
    #[tool(annotations(read_only_hint = true))]
    async fn diagnosis_catalogue(&self) -> Answer {
        let all = |list: Vec<(&str, &str)>| -> Vec<String> {
            let one = |(name, meaning)| format!("{name}: {meaning}");
            list.into_iter().map(one).collect()
        };
        let catalogue = json!({
            "components": all(Component::ALL.iter().map(|one| (one.name(), one.meaning())).collect()),
            "mechanisms": all(Mechanism::ALL.iter().map(|one| (one.name(), one.meaning())).collect()),
            "causes": all(Cause::ALL.iter().map(|one| (one.name(), one.meaning())).collect()),
            "signals": all(Signal::ALL.iter().map(|one| (one.name(), one.meaning())).collect()),
        });
        Ok(CallToolResult::success(vec![ContentBlock::text(
            catalogue.to_string(),
        )]))
    }

    /// Takes the next hint, which costs a part of the score.
    #[tool]
    async fn hint(&self) -> Answer {
        self.verb(&["--json", "drill", "hint"]).await
    }

    /// Says what is wrong. The last diagnosis counts; partly right ones earn a part.
    #[tool]
    async fn diagnose(&self, Parameters(said): Parameters<Diagnosis>) -> Answer {
        let mut given = vec![
            ("--component", Some(said.component)),
            ("--mechanism", Some(said.mechanism)),
            ("--cause", Some(said.cause)),
        ];
        given.extend(
            said.evidence
                .into_iter()
                .map(|one| ("--evidence", Some(one))),
        );
        let options = options(&given);
        self.verb(&line(&["--json", "drill", "diagnose"], &options, &[]))
            .await
    }

    /// Says that it is repaired. It is verified under live load then, which takes some ten seconds: ask `status` how that went.
    #[tool]
    async fn submit(&self) -> Answer {
        Ok(self.say("/api/run/submit", None).await)
    }

    /// Ends the run, and is told what was wrong.
    #[tool]
    async fn give_up(&self) -> Answer {
        Ok(self.say("/api/run/give-up", None).await)
    }

    /// What was wrong, what the diagnosis and the repair were worth, and how to do better; of a run that has ended.
    #[tool(annotations(read_only_hint = true))]
    async fn report(&self) -> Answer {
        self.verb(&["drill", "report"]).await
    }

    /// Brings the lab back to its baseline, once the report was read. Another drill can be begun when `status` has no run any more.
    #[tool]
    async fn reset(&self) -> Answer {
        Ok(self.say("/api/run/reset", None).await)
    }

    /// Asks Prometheus. Metrics of the shop, of the load on it (what users see) and of the kernel (`observastack_*` with a label `unit`).
    #[tool(annotations(read_only_hint = true))]
    async fn query_metrics(&self, Parameters(asked): Parameters<Metrics>) -> Answer {
        let options = options(&[("--since", asked.since)]);
        self.verb(&line(&["metrics"], &options, &[&asked.query]))
            .await
    }

    /// Log records of all units, found by words, level, unit and time.
    #[tool(annotations(read_only_hint = true))]
    async fn search_logs(&self, Parameters(asked): Parameters<Logs>) -> Answer {
        let options = options(&[
            ("--level", asked.level),
            ("--unit", asked.unit),
            ("--since", asked.since),
            ("--limit", asked.limit.map(|limit| limit.to_string())),
        ]);
        let words = asked.words.unwrap_or_default();
        let words: Vec<&str> = words.split_whitespace().collect();
        self.verb(&line(&["logs"], &options, &words)).await
    }

    /// Traces, found by what one of their spans is.
    #[tool(annotations(read_only_hint = true))]
    async fn find_traces(&self, Parameters(asked): Parameters<Traces>) -> Answer {
        let options = options(&[
            ("--service", asked.service),
            ("--min-duration", asked.min_duration),
            ("--status", asked.status),
            ("--since", asked.since),
            ("--limit", asked.limit.map(|limit| limit.to_string())),
        ]);
        self.verb(&line(&["traces"], &options, &[])).await
    }

    /// One trace: who called whom, when, for how long, and what was logged during it.
    #[tool(annotations(read_only_hint = true))]
    async fn show_trace(&self, Parameters(asked): Parameters<Trace>) -> Answer {
        self.verb(&["trace", "--", &asked.id]).await
    }

    /// Where a unit has spent its CPU time: its functions, from the profiles that it sends all the time.
    #[tool(annotations(read_only_hint = true))]
    async fn profile(&self, Parameters(asked): Parameters<Profile>) -> Answer {
        let options = options(&[("--since", asked.since)]);
        self.verb(&line(&["profile"], &options, &[&asked.unit]))
            .await
    }

    /// What the kernel sees, now, for some seconds.
    #[tool(annotations(read_only_hint = true))]
    async fn kernel(&self, Parameters(asked): Parameters<Kernel>) -> Answer {
        let seconds = within("seconds", asked.seconds, 5, 1..=LONGEST_LOOK_S)?;
        let unit = match (asked.view, asked.unit) {
            (View::Top, _) => None,
            (_, Some(unit)) => Some(unit),
            (view, None) => {
                let words = format!("unit: the view {view:?} is of one unit, such as api@1");
                return Err(ErrorData::invalid_params(words, None));
            }
        };
        let length = format!("{seconds}s");
        let (verb, length): (&[&str], _) = match asked.view {
            View::Top => (&["top", "--once"], ("--interval", Some(length))),
            View::Syscalls => (&["syscalls"], ("--for", Some(length))),
            View::OffCpu => (&["off-cpu"], ("--for", Some(length))),
            View::TraceSyscalls => (&["trace", "syscalls"], ("--for", Some(length))),
            View::TraceTcp => (&["trace", "tcp"], ("--for", Some(length))),
        };
        let options = options(&[length, ("--unit", unit)]);
        let words = line(verb, &options, &[]);
        self.verb_for(Duration::from_secs(seconds), self.as_observer(), &words)
            .await
    }

    /// Runs a command on this machine, with the rights of whoever takes the drill: ss, strace, journalctl, systemctl, psql, curl, observastack-ctl config.
    #[tool(annotations(destructive_hint = true))]
    async fn shell(&self, Parameters(Shell { command, timeout_s }): Parameters<Shell>) -> Answer {
        let limit_s = within("timeout_s", timeout_s, COMMAND_S, 1..=LONGEST_COMMAND_S)?;
        let limit = Duration::from_secs(limit_s);
        // Before it is run: one that is never answered was used, too.
        let told = self.tell(&command).await;
        let ran = shell::run(&["sh", "-c", &command], &[], limit).await;
        let ran = ran.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let mut ended = match ran.end {
            shell::End::Itself(Some(code)) => format!("exit code {code}"),
            shell::End::Itself(None) => "ended by a signal".to_owned(),
            shell::End::Late => {
                format!("ended after {limit_s} s, with everything that it had begun")
            }
            shell::End::LateAndGoesOn => {
                format!(
                    "after {limit_s} s something that it has begun goes on, and could not be ended"
                )
            }
        };
        if let Err(failure) = told {
            ended.push_str(&format!(" (it is not in the run's log: {failure})"));
        }
        let text = format!(
            "{ended}\n--- standard output\n{}\n--- standard error\n{}",
            ran.stdout.text().trim_end(),
            ran.stderr.text().trim_end()
        );
        let content = vec![ContentBlock::text(text)];
        Ok(match ran.end {
            shell::End::Itself(Some(0)) => CallToolResult::success(content),
            _ => CallToolResult::error(content),
        })
    }
}

impl Lab {
    /// Whoever may not ask the observer may do so as its user, where drills are assessed.
    fn as_observer(&self) -> &'static [&'static str] {
        let may = rustix::fs::access(&self.places.observer, rustix::fs::Access::WRITE_OK);
        match may {
            Ok(()) => &[],
            Err(_) => &["sudo", "-n", "-u", "observastack-observer"],
        }
    }

    /// A command is one of the run's, where one goes on; outside of one it is nobody's business.
    async fn tell(&self, line: &str) -> Result<(), Failure> {
        let line: &str = &line[..line.floor_char_boundary(LOGGED)];
        let did = json!({"what": "command", "line": line});
        let controller = self.asking.controller()?;
        controller.say("/api/run/did", Some(&did)).await.map(drop)
    }

    /// The run, its score, and what happened in it after so many entries.
    async fn standing(&self, after: u64) -> Result<Value, Failure> {
        let controller = self.asking.controller()?;
        let mut now: Value = controller.get("/api/run").await?;
        let path = format!("/api/run/entries?after={after}");
        let happened: Value = controller.get(&path).await?;
        let entries = happened["entries"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        now["entries"] = entries[entries.len().saturating_sub(ENTRIES)..].into();
        Ok(now)
    }
}

#[tool_handler]
impl ServerHandler for Lab {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "observastack",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(INSTRUCTIONS)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn every_tool_says_what_it_is_for_and_takes_an_object() {
        let tools = Lab::tool_router().list_all();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        for name in [
            "list_drills",
            "query_metrics",
            "search_logs",
            "find_traces",
            "profile",
            "kernel",
            "shell",
            "hint",
            "submit",
        ] {
            assert!(names.contains(&name), "{name} is not there: {names:?}");
        }
        for tool in tools {
            let about = tool.description.as_deref().unwrap_or_default();
            assert!(about.len() > 20, "{}: {about:?}", tool.name);
            assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
        }
    }

    #[test]
    fn what_an_agent_says_is_no_option_of_the_program() {
        let given = options(&[("--since", Some("--help".to_owned())), ("--unit", None)]);
        assert_eq!(
            line(&["metrics"], &given, &["--version"]),
            ["metrics", "--since=--help", "--", "--version"]
        );
    }

    #[test]
    fn a_verb_without_words_takes_the_end_of_its_options() {
        for words in [
            line(&["traces"], &["--status=error".to_owned()], &[]),
            line(&["top", "--once"], &["--interval=2s".to_owned()], &[]),
            line(&["trace", "tcp"], &["--unit=api@1".to_owned()], &[]),
            line(&["logs"], &[], &["a", "b"]),
            line(
                &["drill", "start"],
                &["--seed=3".to_owned()],
                &["grey-loss"],
            ),
        ] {
            let parsed = Args::try_parse_from(["observastack-ctl"].iter().chain(&words));
            assert!(parsed.is_ok(), "{words:?}: {parsed:?}");
        }
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_with_the_range() {
        assert_eq!(within("seconds", None, 5, 1..=120).unwrap(), 5);
        let error = within("seconds", Some(0), 5, 1..=120).unwrap_err();
        assert_eq!(error.message, "seconds: 0 is not allowed; use 1 to 120");
    }
}
