//! Signals, as an agent sees them: this program, run with its verbs for people.

use std::time::Duration;

use rmcp::{
    ErrorData, handler::server::wrapper::Parameters, model::CallToolResult, schemars, tool,
    tool_router,
};
use serde::Deserialize;

use super::{
    Answer, Lab,
    command::{self, End},
    text, within,
};
use crate::args::{COLLECTOR_VARIABLE, OBSERVER_VARIABLE};

/// How long a verb may take, beyond what it was told to wait.
const TOOL: Duration = Duration::from_secs(120);
/// How long the kernel may look for one tool call.
const LONGEST_LOOK_S: u64 = 120;

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

/// An option of a verb, where it was given.
type Given<'a> = (&'a str, Option<String>);

/// Words of a verb: its name, then its options, then what it is about, which may begin with a dash.
fn line(verb: &[&str], options: &[Given<'_>], rest: &[&str]) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut line: Vec<String> = owned(verb);
    let option = |(name, value): &Given<'_>| Some(format!("{name}={}", value.as_ref()?));
    line.extend(options.iter().filter_map(option));
    line.push("--".to_owned());
    line.extend::<Vec<String>>(owned(rest));
    line
}

#[tool_router(router = signal_tools, vis = "pub(super)")]
impl Lab {
    /// Asks Prometheus. Metrics of the shop, of the load on it (what users see) and of the kernel (`observastack_*` with a label `unit`).
    #[tool(annotations(read_only_hint = true))]
    async fn query_metrics(&self, Parameters(asked): Parameters<Metrics>) -> Answer {
        self.look("metrics", &[("--since", asked.since)], &[&asked.query])
            .await
    }

    /// Log records of all units, found by words, level, unit and time.
    #[tool(annotations(read_only_hint = true))]
    async fn search_logs(&self, Parameters(asked): Parameters<Logs>) -> Answer {
        let options = [
            ("--level", asked.level),
            ("--unit", asked.unit),
            ("--since", asked.since),
            ("--limit", asked.limit.map(|limit| limit.to_string())),
        ];
        let words = asked.words.unwrap_or_default();
        let words: Vec<&str> = words.split_whitespace().collect();
        self.look("logs", &options, &words).await
    }

    /// Traces, found by what one of their spans is.
    #[tool(annotations(read_only_hint = true))]
    async fn find_traces(&self, Parameters(asked): Parameters<Traces>) -> Answer {
        let options = [
            ("--service", asked.service),
            ("--min-duration", asked.min_duration),
            ("--status", asked.status),
            ("--since", asked.since),
            ("--limit", asked.limit.map(|limit| limit.to_string())),
        ];
        self.look("traces", &options, &[]).await
    }

    /// One trace: who called whom, when, for how long, and what was logged during it.
    #[tool(annotations(read_only_hint = true))]
    async fn show_trace(&self, Parameters(asked): Parameters<Trace>) -> Answer {
        self.look("trace", &[], &[&asked.id]).await
    }

    /// Where a unit has spent its CPU time: its functions, from the profiles that it sends all the time.
    #[tool(annotations(read_only_hint = true))]
    async fn profile(&self, Parameters(asked): Parameters<Profile>) -> Answer {
        self.look("profile", &[("--since", asked.since)], &[&asked.unit])
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
        let words = line(verb, &[length, ("--unit", unit)], &[]);
        self.verb(self.as_observer(), &words, Duration::from_secs(seconds))
            .await
    }
}

impl Lab {
    /// One of this program's verbs.
    async fn look(&self, verb: &str, options: &[Given<'_>], rest: &[&str]) -> Answer {
        self.verb(&[], &line(&[verb], options, rest), Duration::ZERO)
            .await
    }

    /// The same, one that waits for so long itself; `as_user` goes before it (`sudo -n ...`).
    async fn verb(&self, as_user: &[&str], words: &[String], waits: Duration) -> Answer {
        let program = self.program.to_string_lossy();
        let words = words.iter().map(String::as_str);
        let line: Vec<&str> = as_user
            .iter()
            .copied()
            .chain([program.as_ref()])
            .chain(words)
            .collect();
        // Where this program was told that everything is.
        let told = [
            (
                OBSERVER_VARIABLE,
                self.places.observer.display().to_string(),
            ),
            (COLLECTOR_VARIABLE, self.places.collector.to_string()),
        ];
        let ran = command::run(&line, &told, TOOL + waits).await;
        let ran = ran.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        // What it has printed; its complaint where it failed.
        Ok(match ran.end {
            End::Itself(Some(0)) => CallToolResult::success(text(&ran.stdout.text())),
            End::Itself(_) => CallToolResult::error(text(&format!(
                "{}\n{}",
                ran.stdout.text().trim_end(),
                ran.stderr.text()
            ))),
            End::Late | End::LateAndGoesOn => CallToolResult::error(text(&format!(
                "it took too long, and was ended\n{}",
                ran.stdout.text()
            ))),
        })
    }

    /// Whoever may not ask the observer may do so as its user, where drills are assessed.
    fn as_observer(&self) -> &'static [&'static str] {
        let may = rustix::fs::access(&self.places.observer, rustix::fs::Access::WRITE_OK);
        match may {
            Ok(()) => &[],
            Err(_) => &["sudo", "-n", "-u", "observastack-observer"],
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn what_an_agent_says_is_no_option_of_the_program() {
        let given = [("--since", Some("--help".to_owned())), ("--unit", None)];
        assert_eq!(
            line(&["metrics"], &given, &["--version"]),
            ["metrics", "--since=--help", "--", "--version"]
        );
    }

    #[test]
    fn a_verb_without_words_takes_the_end_of_its_options() {
        let given = |name, value: &str| [(name, Some(value.to_owned()))];
        for words in [
            line(&["traces"], &given("--status", "error"), &[]),
            line(&["top", "--once"], &given("--interval", "2s"), &[]),
            line(&["trace", "tcp"], &given("--unit", "api@1"), &[]),
            line(&["logs"], &[], &["a", "b"]),
            line(&["drill", "start"], &given("--seed", "3"), &["grey-loss"]),
        ] {
            let program = std::iter::once("observastack-ctl".to_owned());
            let parsed = Args::try_parse_from(program.chain(words.clone()));
            assert!(parsed.is_ok(), "{words:?}: {parsed:?}");
        }
    }
}
