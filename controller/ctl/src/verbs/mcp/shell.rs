//! A shell, as an agent has it: with the rights of whoever runs this, and each command in the run's log.

use std::time::Duration;

use rmcp::{
    ErrorData, handler::server::wrapper::Parameters, model::CallToolResult, schemars, tool,
    tool_router,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Answer, Lab,
    command::{self, End},
    within,
};
use crate::failure::Failure;

/// How long a command may take if nothing is said, and at most.
const COMMAND_S: u64 = 30;
const LONGEST_COMMAND_S: u64 = 600;
/// Bytes of a command that are kept in the run's log.
const LOGGED: usize = 4 << 10;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shell {
    /// As sh -c takes it.
    command: String,
    /// It is ended after so many seconds, 1 to 600; 30 if left out.
    timeout_s: Option<u64>,
}

#[tool_router(router = shell_tools, vis = "pub(super)")]
impl Lab {
    /// Runs a command on this machine, with the rights of whoever takes the drill: ss, strace, journalctl, systemctl, psql, curl, observastack-ctl config.
    #[tool(annotations(destructive_hint = true))]
    async fn shell(&self, Parameters(Shell { command, timeout_s }): Parameters<Shell>) -> Answer {
        let limit_s = within("timeout_s", timeout_s, COMMAND_S, 1..=LONGEST_COMMAND_S)?;
        let limit = Duration::from_secs(limit_s);
        // Before it is run: one that is never answered was used, too.
        let told = self.tell(&command).await;
        let ran = command::run(&["sh", "-c", &command], &[], limit).await;
        let ran = ran.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let mut ended = match ran.end {
            End::Itself(Some(code)) => format!("exit code {code}"),
            End::Itself(None) => "ended by a signal".to_owned(),
            End::Late => {
                format!("ended after {limit_s} s, with everything that it had begun")
            }
            End::LateAndGoesOn => {
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
        Ok(match ran.end {
            End::Itself(Some(0)) => CallToolResult::success(super::text(&text)),
            _ => CallToolResult::error(super::text(&text)),
        })
    }
}

impl Lab {
    /// A command is one of the run's, where one goes on; outside of one it is nobody's business.
    async fn tell(&self, line: &str) -> Result<(), Failure> {
        let line: &str = &line[..line.floor_char_boundary(LOGGED)];
        let did = json!({"what": "command", "line": line});
        self.say("/api/run/did", Some(&did)).await.map(drop)
    }
}
