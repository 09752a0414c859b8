//! A server whose behaviour a test knows.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// What a server does with a connection's request, the n-th of all.
pub(crate) type Answer = dyn Fn(&mut TcpStream, u64) -> std::io::Result<()> + Send + Sync;

/// What a server was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    /// Header lines, as they came.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
    /// Which connection it came over, from 0.
    pub(crate) connection: u64,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A server that ends with the test's process.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn start(
        answer: impl Fn(&mut TcpStream, u64) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::looking(move |stream, _, number| answer(stream, number))
    }

    /// One that looks at what it is sent.
    pub(crate) fn looking(
        answer: impl Fn(&mut TcpStream, &Request, u64) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let (counter, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for (stream, connection) in listener.incoming().map_while(Result::ok).zip(0..) {
                let (counter, answer) = (Arc::clone(&counter), Arc::clone(&answer));
                thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    let mut reader = BufReader::new(stream);
                    while let Some(mut request) = read(&mut reader) {
                        request.connection = connection;
                        let number = counter.fetch_add(1, Ordering::SeqCst);
                        if answer(reader.get_mut(), &request, number).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads a request, if there is one.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut request = Request::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if !line.is_empty() && request.line.is_empty() {
            request.line = line.trim_end_matches(" HTTP/1.1").to_owned();
        } else if !line.is_empty() {
            request.headers.push(line.to_owned());
        } else if !request.line.is_empty() {
            break;
        }
    }
    let length = request
        .header("content-length")
        .and_then(|value| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

/// Answers with a status and a body.
pub(crate) fn answer(stream: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} x\r\nLocation: /orders/17\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes())
}

pub(crate) fn ok(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
}
