//! The gateway as a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    client::{self, Answer},
    eventually,
    upstream::Upstream,
};

/// A running gateway; killed when dropped.
pub struct Gateway {
    pub shop: SocketAddr,
    pub ops: SocketAddr,
    pub directory: Arc<TempDir>,
    child: Child,
    log: Log,
}

type Log = Arc<Mutex<Vec<String>>>;

/// The configuration that tests start from: quick checks, no luck involved.
pub fn config(upstreams: &[&Upstream], more: Value) -> Value {
    let addresses: Vec<_> = upstreams
        .iter()
        .map(|upstream| json!({"address": upstream.address}))
        .collect();
    let mut config = json!({
        "upstreams": addresses,
        "health_check": {"interval_ms": 50, "timeout_ms": 1000, "healthy_after": 2, "unhealthy_after": 2},
    });
    merge(&mut config, more);
    config
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_observastack-gateway"));
    command
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
        .arg("--state-dir")
        .arg(directory.join("state"))
        .arg("--admin-socket")
        .arg(directory.join("admin.sock"))
        .arg("--site-config")
        .arg(directory.join("site.json"))
        .env_remove("JOURNAL_STREAM")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Gateway {
    /// Starts with `config` as its site configuration.
    pub async fn start(config: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("site.json"), config.to_string()).unwrap();
        Self::start_in(Arc::new(directory)).await
    }

    /// Starts in front of `upstreams`, with more configuration.
    pub async fn before(upstreams: &[&Upstream], more: Value) -> Self {
        Self::start(config(upstreams, more)).await
    }

    /// Starts in a directory where a gateway was before.
    pub async fn start_in(directory: Arc<TempDir>) -> Self {
        let mut child = command(directory.path()).spawn().unwrap();
        let log = Log::default();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                stderr
                    .lines()
                    .map_while(Result::ok)
                    .for_each(|line| log.lock().unwrap().push(line))
            }
        });
        let (shop, ops) = eventually("the gateway listens", async || {
            let log = log.lock().unwrap();
            log.iter()
                .find_map(|line| Some((field(line, " listen=")?, field(line, "ops_listen=")?)))
        })
        .await;
        let gateway = Self {
            shop,
            ops,
            directory,
            child,
            log,
        };
        // The sockets are bound before anything is served.
        eventually("the gateway is served", async || {
            client::Connection::open(gateway.ops)
                .await
                .ok()?
                .get("/livez")
                .await
                .ok()
        })
        .await;
        gateway
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    pub async fn admin(&self, method: Method, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        client::send_unix(
            &self.admin_socket(),
            client::request(method, "/config", body),
        )
        .await
    }

    /// Changes the configuration, which must be accepted.
    pub async fn patch(&self, patch: Value) -> Value {
        let answer = self.admin(Method::PATCH, &patch).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()
    }

    /// The sum of all series of a metric whose line holds all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = client::get(self.ops, "/metrics").await.body;
        let text = String::from_utf8(text.to_vec()).unwrap();
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Waits until so many upstreams are healthy.
    pub async fn until_healthy(&self, expected: usize) {
        eventually(&format!("{expected} healthy upstreams"), async || {
            let answer = client::get(self.shop, "/healthz").await;
            let now = answer.json()["healthy_upstreams"].as_u64()?;
            assert_eq!(answer.status == 200, now > 0);
            (now == expected as u64).then_some(())
        })
        .await;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        eventually("the gateway ends", async || self.child.try_wait().unwrap()).await
    }
}

fn field<T: std::str::FromStr>(line: &str, name: &str) -> Option<T> {
    let (_, rest) = line.split_once(name)?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.log.lock().unwrap().iter().rev().take(30).rev() {
                eprintln!("gateway: {line}");
            }
        }
    }
}
