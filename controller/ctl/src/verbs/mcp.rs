//! `mcp`: the lab for an agent, by the Model Context Protocol (version 2025-06-18 and later) on standard input and output: the drills, signals and shell
//! that a person has, and the same score.
//!
//! - [`tools`]: what an agent may call, and with what; [`shell`]: commands with a limit, as whoever runs this;
//! - drills are the controller's, asked as the other verbs ask it; signals are this program, run with its other verbs: what an agent is told and refused is
//!   what a person is.

mod shell;
mod tools;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use rmcp::{
    ErrorData, ServiceExt as _,
    model::{CallToolResult, ContentBlock},
    transport::stdio,
};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::shell::{End, Ran};
use super::drill::Asking;
use crate::failure::Failure;

/// How long a tool that is one of this program's verbs may take, beyond what it was told to wait.
const TOOL: Duration = Duration::from_secs(120);

/// Serve the lab's drills, signals and a shell to an agent, by the Model Context Protocol on standard input and output. Every command of the agent is one of
/// the run's, as a person's is.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    #[command(flatten)]
    asking: Asking,
}

/// Where everything is, as this program was told; those that it runs are told the same.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The injector's socket.
    pub(crate) injector: PathBuf,
    /// The observer's.
    pub(crate) observer: PathBuf,
    /// The collector.
    pub(crate) collector: String,
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
    /// Says something to the controller; how everything stands then.
    async fn say(&self, path: &str, body: Option<&Value>) -> CallToolResult {
        said(match self.asking.controller() {
            Ok(controller) => controller.say(path, body).await,
            Err(failure) => Err(failure),
        })
    }

    /// One of this program's verbs.
    async fn verb(&self, words: &[&str]) -> Result<CallToolResult, ErrorData> {
        self.verb_for(Duration::ZERO, &[], words).await
    }

    /// The same, one that waits for so long itself; `as_user` goes before it (`sudo -n ...`).
    async fn verb_for(
        &self,
        waits: Duration,
        as_user: &[&str],
        words: &[&str],
    ) -> Result<CallToolResult, ErrorData> {
        let program = self.program.to_string_lossy();
        let line: Vec<&str> = as_user
            .iter()
            .copied()
            .chain([program.as_ref()])
            .chain(words.iter().copied())
            .collect();
        let ran = shell::run(&line, &self.environment(), TOOL + waits).await;
        let ran = ran.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(told(&ran))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = self.asking.environment();
        all.extend([
            (
                "OBSERVASTACK_INJECTOR_SOCKET",
                self.places.injector.display().to_string(),
            ),
            (
                "OBSERVASTACK_OBSERVER_SOCKET",
                self.places.observer.display().to_string(),
            ),
            ("OBSERVASTACK_COLLECTOR", self.places.collector.clone()),
        ]);
        all
    }
}

/// What a verb has printed; its complaint where it failed.
fn told(ran: &Ran) -> CallToolResult {
    let text = |text: &str| vec![ContentBlock::text(text.trim_end())];
    match ran.end {
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
    }
}

/// What the controller has answered.
fn said(answer: Result<Value, Failure>) -> CallToolResult {
    match answer {
        Ok(value) => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
        Err(failure) => CallToolResult::error(vec![ContentBlock::text(failure.to_string())]),
    }
}
