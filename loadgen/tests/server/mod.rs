//! A server whose behaviour a test knows.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// What a server does with a connection's request, the n-th of all.
pub(crate) type Answer = dyn Fn(&mut TcpStream, u64) -> std::io::Result<()> + Send + Sync;

/// A server that ends with the test's process.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn start(
        answer: impl Fn(&mut TcpStream, u64) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let (counter, answer): (_, Arc<Answer>) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (counter, answer) = (Arc::clone(&counter), Arc::clone(&answer));
                thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    let mut reader = BufReader::new(stream);
                    while read_head(&mut reader) {
                        let number = counter.fetch_add(1, Ordering::SeqCst);
                        if answer(reader.get_mut(), number).is_err() {
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

/// Reads a request without a body; whether there was one.
fn read_head(reader: &mut BufReader<TcpStream>) -> bool {
    let mut has_begun = false;
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(length) if length > 0 => {}
            _ => return false,
        }
        if line.trim_end().is_empty() && has_begun {
            return true;
        }
        has_begun = true;
    }
}

pub(crate) fn ok(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
}
