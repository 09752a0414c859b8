//! `mcp`: the lab for an agent, by the Model Context Protocol (version 2025-06-18 and later) on standard input and output: the drills, signals and shell
//! that a person has, and the same score.
//!
//! - [`drills`], [`signals`], [`shell`]: what an agent may call, and with what; what it is told and refused is what a person is;
//! - [`command`]: commands with a limit, as whoever runs this.

mod command;
mod drills;
mod shell;
mod signals;

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, process::ExitCode};

use clap::Args;
use rmcp::{
    ErrorData, ServerHandler, ServiceExt as _,
    handler::server::router::tool::ToolRouter,
    model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig},
    tool_handler,
    transport::stdio,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::drill::Asking;
use crate::failure::Failure;

const INSTRUCTIONS: &str = "\
A shop runs on this Linux machine as systemd units: gateway (port 8000), api@1, api@2, inventory, worker, postgresql. A drill breaks something of it. \
Call list_drills and start_drill, wait until status says `investigating`, find out what is wrong with the signals and the shell, say so with diagnose, \
repair it, and call submit: the repair has to hold under live load, so ask status until its phase is `debrief`. Hints cost a part of the score. \
Stopping the load, shedding traffic, stopping units or switching telemetry off is no repair. `observastack-ctl config get|set SERVICE` reads and changes a \
service's configuration.";

/// Serve the lab's drills, signals and a shell to an agent, by the Model Context Protocol on standard input and output. Every command of its shell is in the
/// run's log.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    #[command(flatten)]
    asking: Asking,
}

/// Where everything is, as this program was told; those that it runs are told the same.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The observer's socket.
    pub(crate) observer: PathBuf,
    /// The collector.
    pub(crate) collector: SocketAddr,
}

/// The server.
#[derive(Clone, Debug)]
pub(super) struct Lab {
    program: PathBuf,
    places: Places,
    asking: Asking,
}

/// Serves until the other side closes its end.
pub(crate) async fn run(mcp: Mcp, places: Places) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe().map_err(|source| Failure::Io {
        what: "cannot find this program".to_owned(),
        source,
    })?;
    let lab = Lab {
        program,
        places,
        asking: mcp.asking,
    };
    let ended = |reason: String| Failure::Ended(format!("mcp: {reason}"));
    let listen = |kind| {
        signal(kind).map_err(|source| Failure::Io {
            what: "cannot listen for signals".to_owned(),
            source,
        })
    };
    let mut told_to_end = listen(SignalKind::terminate())?;
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut hung_up = listen(SignalKind::hangup())?;
    let served = async {
        let service = lab.serve(stdio()).await;
        let service = service.map_err(|error| ended(error.to_string()))?;
        let waited = service.waiting().await;
        waited.map_err(|error| ended(error.to_string()))?;
        Ok(ExitCode::SUCCESS)
    };
    // Whatever ends it, what its commands have begun is ended with it, as the tasks are dropped.
    tokio::select! {
        served = served => served,
        _ = told_to_end.recv() => Ok(ExitCode::SUCCESS),
        _ = interrupted.recv() => Ok(ExitCode::SUCCESS),
        _ = hung_up.recv() => Ok(ExitCode::SUCCESS),
    }
}

impl Lab {
    fn tools() -> ToolRouter<Self> {
        Self::drill_tools() + Self::signal_tools() + Self::shell_tools()
    }

    /// Says something to the controller; how everything stands then.
    async fn say(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.asking.controller()?.say(path, body).await
    }
}

#[tool_handler(router = Self::tools())]
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

/// What a tool answers; an error where it was called as it cannot be.
type Answer = Result<CallToolResult, ErrorData>;

/// What the controller has answered.
fn said(answer: Result<impl Serialize, Failure>) -> CallToolResult {
    match answer {
        Ok(value) => CallToolResult::success(text(&json!(value).to_string())),
        Err(failure) => CallToolResult::error(text(&failure.to_string())),
    }
}

fn text(text: &str) -> Vec<ContentBlock> {
    vec![ContentBlock::text(text.trim_end())]
}

/// A number that has to lie in a range; the complaint says which.
fn within(
    name: &str,
    value: Option<u64>,
    usual: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, ErrorData> {
    let value = value.unwrap_or(usual);
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    let words = format!("{name}: {value} is not allowed; use {least} to {most}");
    Err(ErrorData::invalid_params(words, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_what_it_is_for_and_takes_an_object() {
        let tools = Lab::tools().list_all();
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
    fn a_number_out_of_its_range_is_refused_with_the_range() {
        assert_eq!(within("seconds", None, 5, 1..=120).unwrap(), 5);
        let error = within("seconds", Some(0), 5, 1..=120).unwrap_err();
        assert_eq!(error.message, "seconds: 0 is not allowed; use 1 to 120");
    }
}
