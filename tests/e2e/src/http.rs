//! Requests: one at a time through curl, thousands on kept-alive connections by ourselves.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::command;

/// Longer than any series of retransmissions that the tests cause: after it a request counts as not answered.
const PATIENCE: Duration = Duration::from_secs(50);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As received, each line of the last head.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }

    /// The body as JSON, of an answer with this status.
    pub(crate) fn expect(&self, status: u16) -> Result<Value> {
        ensure!(
            self.status == status,
            "answered {} instead of {status}: {}",
            self.status,
            self.body
        );
        self.json()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// `curl ARGUMENTS`; an error where there is no answer.
pub(crate) fn curl(arguments: &[&str]) -> Result<Answer> {
    curl_sending(arguments, "")
}

/// As [`curl`], with standard input for `--data-binary @-`.
pub(crate) fn curl_sending(arguments: &[&str], input: &str) -> Result<Answer> {
    let always = [
        "curl",
        "--silent",
        "--show-error",
        "--include",
        "--max-time",
        "45",
        "--no-progress-meter",
    ];
    let ran = command::run_with_input(&[&always, arguments].concat(), input)?;
    ran.expect(0)?;
    parse(&ran.stdout)
}

/// `curl` with a JSON body.
pub(crate) fn post(url: &str, body: &str) -> Result<Answer> {
    curl(&["--json", body, url])
}

fn parse(text: &str) -> Result<Answer> {
    let mut rest = text;
    loop {
        let (head, body) = rest
            .split_once("\r\n\r\n")
            .with_context(|| format!("not an answer: {text}"))?;
        let status: u16 = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .with_context(|| format!("no status: {head}"))?;
        // A 100 or 103 comes before the answer itself.
        if status >= 200 {
            return Ok(Answer {
                status,
                head: head.to_owned(),
                body: body.to_owned(),
            });
        }
        rest = body;
    }
}

/// Asks a service on its Unix socket for JSON, as curl does with these arguments; an answer that is no success is an error, an empty one
/// is null.
pub(crate) fn ask(socket: &str, arguments: &[&str], path: &str) -> Result<Value> {
    let url = format!("http://localhost{path}");
    let fixed = [
        "curl",
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "60",
        "--unix-socket",
        socket,
    ];
    let text = command::output(&[&fixed[..], arguments, &[&url]].concat())?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| text)
}

/// One request on a Unix socket without the start of a process: for measuring times.
pub(crate) fn unix(socket: &str, method: &str, path: &str, body: &str) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.to_owned())?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text)
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    local: SocketAddr,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let local = stream.local_addr()?;
        Ok(Self {
            stream: BufReader::new(stream),
            local,
        })
    }

    /// The client's port: what tools know the connection by.
    pub(crate) fn local_port(&self) -> u16 {
        self.local.port()
    }

    /// Sends a request in one segment and reads the whole answer; its status.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &str) -> Result<u16> {
        Ok(self.send(method, path, &[], body)?.0)
    }

    /// The same with more headers; the answer's status and body.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Result<(u16, Vec<u8>)> {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status = None;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("the connection was closed");
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
            } else if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse()?;
                }
                ensure!(
                    !name.eq_ignore_ascii_case("transfer-encoding"),
                    "this client does not read chunks"
                );
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status.context("no status")?, body))
    }
}

/// How many requests had which outcome: a status, or why there was none.
pub(crate) type Outcomes = BTreeMap<String, u64>;

/// Sends `each` requests on every connection, all connections at the same time; the connections come back.
pub(crate) fn load(
    connections: Vec<Connection>,
    each: u32,
    path: &str,
) -> Result<(Vec<Connection>, Outcomes)> {
    thread::scope(|scope| {
        let workers: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                scope.spawn(move || {
                    let mut outcomes = Outcomes::new();
                    for _ in 0..each {
                        let outcome = match connection.request("GET", path, "") {
                            Ok(status) => status.to_string(),
                            Err(error) => format!("{error:#}"),
                        };
                        *outcomes.entry(outcome).or_default() += 1;
                    }
                    (connection, outcomes)
                })
            })
            .collect();
        let mut all = Outcomes::new();
        let mut connections = Vec::new();
        for worker in workers {
            let (connection, outcomes) = worker.join().map_err(|_| anyhow!("a client panicked"))?;
            connections.push(connection);
            for (outcome, count) in outcomes {
                *all.entry(outcome).or_default() += count;
            }
        }
        Ok((connections, all))
    })
}
