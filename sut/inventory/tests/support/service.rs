//! A service's own process, with a configuration and directories for one test.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Cluster, HttpClient, eventually};

/// A running service; ended when dropped.
pub struct Service {
    /// For its port.
    pub client: HttpClient,
    process: Child,
    /// What a service manager would read from.
    manager: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Service {
    /// Starts `binary` on a free port with `site_config`, and waits until it listens.
    pub fn start(
        binary: &str,
        cluster: &Cluster,
        more_arguments: &[&str],
        site_config: &Value,
    ) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("site.json"), site_config.to_string()).unwrap();
        let manager = UnixDatagram::bind(path("notify")).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut process = Command::new(binary)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--database-port",
                &cluster.port().to_string(),
            ])
            .args([
                "--state-dir",
                &path("state"),
                "--admin-socket",
                &path("admin.sock"),
            ])
            .args(["--site-config", &path("site.json")])
            .args(more_arguments)
            .env("NOTIFY_SOCKET", path("notify"))
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("JOURNAL_STREAM")
            .env_remove("OBSERVASTACK_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = listening_address(&mut process);
        Service {
            client: HttpClient::new(format!("http://{address}")),
            process,
            manager,
            directory,
        }
    }

    /// Waits until the service says that it is ready.
    pub async fn ready(self) -> Service {
        eventually("the service is ready", async || {
            (self.client.get("/healthz").await.status == 200).then_some(())
        })
        .await;
        self
    }

    /// Changes the configuration by a merge patch through the admin socket; gives the answer.
    pub fn patch_config(&self, patch: &Value) -> Value {
        let mut socket = UnixStream::connect(self.directory.path().join("admin.sock")).unwrap();
        let body = patch.to_string();
        let length = body.len();
        let head = format!(
            "PATCH /config HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        socket
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    /// The lines that the service told its manager since the last call.
    pub fn notices(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut notices = Vec::new();
        while let Ok(length) = self.manager.recv(&mut buffer) {
            notices.extend(
                String::from_utf8_lossy(&buffer[..length])
                    .lines()
                    .map(str::to_owned),
            );
        }
        notices
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
    }

    /// Waits for the process's end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address from the log; the rest of the log goes to the test's output.
fn listening_address(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut seen = String::new();
    let address = loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("the service ended at its start:\n{seen}")
        };
        let address = line
            .split_once("listening address=")
            .and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(address) = address {
            break address.to_owned();
        }
        seen.push_str(&line);
        seen.push('\n');
    };
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            eprintln!("{line}");
        }
    });
    address
}
