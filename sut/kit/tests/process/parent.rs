//! The tests' side: starts the service, hears what it tells the service manager, and ends it.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::UnixStream;

use super::common::{Answer, Client, PATIENCE};

pub(crate) struct Parent {
    pub(crate) directory: tempfile::TempDir,
    manager: UnixDatagram,
}

pub(crate) struct Service {
    child: Child,
}

impl Parent {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(directory.path().join("notify.sock")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, manager }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.prepare(&mut command);
        command
    }

    /// Gives any command the service's environment.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .env(super::DIRECTORY, self.path())
            .env(super::LISTEN, "127.0.0.1:0")
            .env("NOTIFY_SOCKET", self.path().join("notify.sock"))
            .env_remove("JOURNAL_STREAM")
            .env_remove("WATCHDOG_PID")
            .env_remove("WATCHDOG_USEC")
            .stderr(Stdio::piped());
    }

    pub(crate) fn start(&self) -> Service {
        self.start_with(&mut self.command())
    }

    /// Starts the service and waits until it says it is ready.
    pub(crate) fn start_with(&self, command: &mut Command) -> Service {
        let service = Service {
            child: command.spawn().unwrap(),
        };
        self.hears("READY=1");
        service
    }

    /// Runs a service that is expected to give up: its exit code and standard error.
    pub(crate) fn fails(&self, command: &mut Command) -> (Option<i32>, String) {
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// The next message to the service manager with this line; the ones before are skipped.
    pub(crate) fn hears(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut skipped = Vec::new();
        while Instant::now() < deadline {
            let Some(message) = self.next_message() else {
                break;
            };
            if message.lines().any(|found| found.starts_with(line)) {
                return message;
            }
            skipped.push(message);
        }
        panic!("the service manager did not hear {line:?}, only {skipped:?}");
    }

    /// Waits until the service manager hears nothing with this line for as long as this.
    pub(crate) fn hears_no_more(&self, line: &str, quiet: Duration) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Instant::now();
        self.manager.set_read_timeout(Some(quiet / 4)).unwrap();
        while last.elapsed() < quiet {
            if self
                .next_message()
                .is_some_and(|message| message.contains(line))
            {
                last = Instant::now();
            }
            assert!(Instant::now() < deadline, "{line} does not end");
        }
        self.manager.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn next_message(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        std::fs::read_to_string(self.path().join("address"))
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) async fn admin(&self) -> Client<UnixStream> {
        Client::unix(&self.path().join("admin.sock")).await.unwrap()
    }

    pub(crate) async fn config(&self) -> Value {
        self.admin().await.get("/config").await.json()
    }

    pub(crate) async fn patch(&self, patch: &Value) -> Answer {
        self.admin()
            .await
            .send("PATCH", "/config", &[], &patch.to_string())
            .await
    }

    pub(crate) async fn wait_for_file(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.path().join(name).exists() {
            assert!(Instant::now() < deadline, "{name} does not come");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Service {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end: the exit status and standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "the service does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = self.child.wait().unwrap();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
        }
        (status, text)
    }

    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        let (status, _) = self.ended();
        assert!(!status.success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A failed test leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
