//! Processes of ours inside units of the target slice: they see a fault as a client of the kernel does.
//!
//! Each serves what it has seen on a Unix socket, which no fault reaches.

mod bind_probe;
mod connect_probe;
mod script;
mod tcp_sink;
mod udp_echo;
mod udp_sink;

use std::{
    env,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};

use crate::{command, lab, wait};

pub(crate) use bind_probe::BindProbe;
pub(crate) use connect_probe::{ConnectProbe, FAULT};
pub(crate) use script::Script;
pub(crate) use tcp_sink::{TcpSink, is_late};
pub(crate) use udp_echo::UdpEcho;
pub(crate) use udp_sink::UdpSink;

/// Where agents have their sockets.
pub(crate) const DIRECTORY: &str = "/run/observastack-e2e";
/// What accept(2) fails with where the process has too many files open.
pub(crate) const EMFILE: i32 = 24;
const UNIT_PREFIX: &str = "observastack-e2e-";

/// Runs as an agent where the arguments ask for one.
pub(crate) fn main(verb: &str, arguments: &[String]) -> Option<ExitCode> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match (verb, arguments.as_slice()) {
        (udp_sink::VERB, [name, port]) => udp_sink::run(name, port),
        (udp_echo::VERB, [name, port]) => udp_echo::run(name, port),
        (tcp_sink::VERB, [name, port]) => tcp_sink::run(name, port),
        (connect_probe::VERB, [name, port]) => connect_probe::run(name, port),
        (bind_probe::VERB, [name, port]) => bind_probe::run(name, port),
        _ => return None,
    };
    Some(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{verb}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// An agent's unit and socket, from a test's side.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    name: String,
}

impl Agent {
    /// Starts this program as an agent in a unit of its own in the target slice, and waits until it answers.
    fn start(name: &str, verb: &str, port: u16) -> Result<Self> {
        let agent = Self {
            name: name.to_owned(),
        };
        let program = env::current_exe()?;
        let program = program.to_str().context("this program's path")?;
        command::output(&[
            "systemd-run",
            "--quiet",
            "--collect",
            &format!("--slice={}", lab::SUT_SLICE),
            &format!("--unit={}", agent.unit()),
            // Tests restart it as often as they like.
            "--property=StartLimitIntervalSec=0",
            program,
            verb,
            name,
            &port.to_string(),
        ])?;
        wait::until(wait::SOON, &format!("agent {name} answers"), || {
            UnixStream::connect(agent.socket())?;
            Ok(Some(()))
        })?;
        Ok(agent)
    }

    /// The unit's name.
    fn unit(&self) -> String {
        format!("{UNIT_PREFIX}{}.service", self.name)
    }

    fn socket(&self) -> PathBuf {
        socket(&self.name)
    }

    /// What the agent has seen so far.
    fn ask<T: DeserializeOwned>(&self) -> Result<T> {
        let mut stream =
            UnixStream::connect(self.socket()).with_context(|| format!("agent {}", self.name))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        serde_json::from_str(&text).with_context(|| format!("agent {} said {text}", self.name))
    }
}

/// Stops every agent.
pub(crate) fn stop_all() -> Result<()> {
    let pattern = format!("{UNIT_PREFIX}*");
    command::output(&["systemctl", "stop", &pattern])?;
    command::output(&["systemctl", "reset-failed", &pattern]).map(drop)
}

fn socket(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("{name}.sock"))
}

/// An agent's own side: answers every connection with what `snapshot` gives, for ever.
fn serve<T: Serialize>(name: &str, snapshot: impl Fn() -> T) -> Result<()> {
    let path = socket(name);
    // The last start of a restarted unit left it.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // A fault's doing, which the agent must outlive to tell of it.
            Err(error) if error.raw_os_error() == Some(EMFILE) => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let text = serde_json::to_string(&snapshot())?;
        // A test that does not wait for the answer has only looked whether we are there.
        let _ = stream.write_all(text.as_bytes());
    }
}
