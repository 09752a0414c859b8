//! An agent takes a drill by the Model Context Protocol, as the learner, with nothing but the server's tools.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    command,
    lab::{self, CTL},
    story::test,
    wait,
};

/// One whose repair is a change of configuration.
const DRILL: &str = "gateway-pool-lowered";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("mcp::an_agent_passes_a_drill_as_the_learner", passes),
        test(
            "mcp::a_server_that_is_told_to_end_takes_its_commands_along",
            ends,
        ),
    ]
}

/// The server, and our end of its pipes. It ends when they are closed.
struct Agent {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    number: u64,
}

impl Agent {
    /// The protocol's handshake (2025-06-18, "Lifecycle").
    fn begin() -> Result<Self> {
        // Which becomes the server itself, and does not stand between.
        let mut server = Command::new("setpriv")
            .args(["--reuid=learner", "--regid=learner", "--init-groups"])
            .args([CTL, "mcp"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = server.stdin.take();
        let output = server.stdout.take().context("no output")?;
        let mut agent = Self {
            server,
            input,
            output: BufReader::new(output),
            number: 0,
        };
        let hello = agent.ask(
            "initialize",
            &json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}),
        )?;
        ensure!(
            hello["serverInfo"]["name"] == "observastack",
            "it is {hello}"
        );
        agent.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(agent)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let input = self.input.as_mut().context("it is closed")?;
        writeln!(input, "{message}")?;
        Ok(input.flush()?)
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.number += 1;
        let number = self.number;
        self.send(
            &json!({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}),
        )?;
        loop {
            let mut line = String::new();
            ensure!(
                self.output.read_line(&mut line)? > 0,
                "the server has ended instead of answering {method}"
            );
            let answer: Value = serde_json::from_str(&line).context("it prints no JSON")?;
            if answer["id"] == number {
                ensure!(answer["error"].is_null(), "{method}: {answer}");
                return Ok(answer["result"].clone());
            }
        }
    }

    /// Calls a tool; whether it failed, and what it says.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<(bool, String)> {
        let result = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        let text = result["content"][0]["text"].as_str();
        let text = text.with_context(|| format!("{tool} says {result}"))?;
        Ok((result["isError"] == true, text.to_owned()))
    }

    fn works(&mut self, tool: &str, arguments: &Value) -> Result<String> {
        let (failed, text) = self.call(tool, arguments)?;
        ensure!(!failed, "{tool}({arguments}): {text}");
        Ok(text)
    }

    fn status(&mut self) -> Result<Value> {
        let text = self.works("status", &json!({}))?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// Its end.
    fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.server.wait()?;
        ensure!(status.success(), "the server ends with {status}");
        Ok(())
    }
}

impl Drop for Agent {
    /// One that goes on, of a test that has failed.
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn ends() -> Result<()> {
    let mut agent = Agent::begin()?;
    agent.send(&json!({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": {"name": "shell", "arguments": {"command": "sleep 601"}}}))?;
    wait::until_true(wait::SOON, "the command runs", || {
        Ok(command::run(&["pgrep", "-f", "^sleep 601$"])?.code == 0)
    })?;
    let server = agent.server.id().to_string();
    command::output(&["kill", "-TERM", &server])?;
    let status = agent.server.wait()?;
    ensure!(status.success(), "the server ends with {status}");
    wait::until_true(wait::SOON, "its command has ended", || {
        none_goes_on().map(|()| true)
    })
}

fn passes() -> Result<()> {
    lab::wait_healthy()?;
    let mut agent = Agent::begin()?;
    let tools = agent.ask("tools/list", &json!({}))?;
    let tools = tools["tools"].as_array().context("no tools")?;
    ensure!(
        tools.iter().any(|tool| tool["name"] == "shell"),
        "{tools:?}"
    );
    agent.works("start_drill", &json!({"id": DRILL, "seed": 4}))?;
    wait::until_true(wait::SOON, "the incident has begun", || {
        Ok(agent.status()?["run"]["life"]["phase"] == "investigating")
    })?;
    // Signals of each kind, and what is not allowed.
    for (tool, arguments, words) in [
        ("query_metrics", json!({"query": "up"}), "job="),
        (
            "query_metrics",
            json!({"query": "sum(rate(http_server_request_duration_seconds_count[1m]))", "since": "5m"}),
            "LAST",
        ),
        ("search_logs", json!({"since": "10m", "limit": 5}), "Z "),
        ("kernel", json!({"view": "top", "seconds": 1}), "gateway"),
        (
            "kernel",
            json!({"view": "syscalls", "unit": "gateway", "seconds": 1}),
            "epoll_wait",
        ),
        ("profile", json!({"unit": "api@1"}), "%"),
        ("diagnosis_catalogue", json!({}), "connection-limit"),
        ("shell", json!({"command": "id -un"}), "learner"),
    ] {
        let said = agent.works(tool, &arguments)?;
        ensure!(
            said.contains(words),
            "{tool}({arguments}) does not say `{words}`: {said}"
        );
    }
    for (tool, arguments, words) in [
        ("query_metrics", json!({"query": "rate("}), "parse error"),
        ("search_logs", json!({"level": "loud"}), "loud"),
        (
            "shell",
            json!({"command": "cat /usr/lib/observastack/scenarios/*/sealed.yaml"}),
            "ermission denied",
        ),
        (
            "shell",
            json!({"command": "sleep 60", "timeout_s": 1}),
            "ended after 1 s, with everything",
        ),
        // Which it could not end itself.
        (
            "shell",
            json!({"command": "sudo -n -u observastack-sut sleep 601", "timeout_s": 1}),
            "ended after 1 s, with everything",
        ),
    ] {
        let (failed, said) = agent.call(tool, &arguments)?;
        ensure!(
            failed && said.contains(words),
            "{tool}({arguments}) does not fail with `{words}`: {said}"
        );
    }
    let repair =
        format!("sudo -n -u observastack-sut {CTL} config set gateway limits.max_in_flight=1024");
    agent.works("shell", &json!({"command": repair}))?;
    agent.works(
        "diagnose",
        &json!({"component": "gateway", "mechanism": "connection-limit", "cause": "configuration", "evidence": ["metrics.saturation=gateway"]}),
    )?;
    agent.works("submit", &json!({}))?;
    wait::until_true(wait::SOON, "it was verified", || {
        Ok(agent.status()?["run"]["life"]["phase"] != "verifying")
    })?;
    let now = agent.status()?;
    ensure!(now["score"]["verdict"] == "pass", "{now}");
    let entries = now["entries"].as_array().context("no entries")?;
    ensure!(
        entries
            .iter()
            .any(|entry| entry["what"] == "checked" && entry["holds"] == true),
        "it is not told what held: {entries:?}"
    );
    ensure!(
        now["score"]["commands"].as_u64() >= Some(4),
        "its commands are not in the run: {}",
        now["score"]
    );
    let report = agent.works("report", &json!({}))?;
    ensure!(report.contains(&repair), "{report}");
    agent.works("reset", &json!({}))?;
    wait::until_true(wait::SOON, "the lab is back", || {
        Ok(agent.status()?["run"].is_null())
    })?;
    agent.end()?;
    none_goes_on()
}

/// What the server's commands have begun.
fn none_goes_on() -> Result<()> {
    let left = command::run(&["pgrep", "-f", "^sleep 60[01]?$"])?;
    ensure!(left.code == 1, "a command goes on: {}", left.stdout);
    Ok(())
}
