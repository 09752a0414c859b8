//! A process in the unit under test that does pieces of work when it is told, and says what came of them.
//!
//! It enters its cgroup before it makes any socket, because a socket belongs to the cgroup of the process that made it.
//! Requests on standard input are `verb argument...`, answers on standard output are numbers. Its input's end ends it.

use std::{
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::stats::now_ns;

/// `getppid(2)`'s number on this architecture.
pub(crate) const GETPPID: u32 = if cfg!(target_arch = "x86_64") {
    110
} else {
    // Every architecture since (`asm-generic/unistd.h`).
    173
};

/// How long one piece of work may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a socket waits.
const SOCKET_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a request and of its answer.
const REQUEST_LEN: usize = 64;

/// The process in the unit under test.
#[derive(Debug, Args)]
pub(crate) struct Work {
    /// The cgroup to enter.
    #[arg(long)]
    cgroup: PathBuf,
}

impl Work {
    pub(crate) fn run(self) -> Result<()> {
        enter(&self.cgroup)?;
        let mut out = io::stdout().lock();
        writeln!(out, "ready")?;
        for line in io::stdin().lock().lines() {
            let line = line?;
            let answer = answer(&line).with_context(|| format!("`{line}`"))?;
            writeln!(out, "{answer}")?;
        }
        Ok(())
    }
}

/// Moves this process into a cgroup.
pub(crate) fn enter(cgroup: &Path) -> Result<()> {
    let members = cgroup.join("cgroup.procs");
    fs::write(&members, "0").with_context(|| format!("cannot write {}", members.display()))
}

fn answer(request: &str) -> Result<String> {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["exchange", times] => timed(times, exchange()?),
        ["udp-connects", times] => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            timed(times, || Ok(socket.connect("127.0.0.1:9")?))
        }
        ["udp-binds", times] => timed(times, || {
            UdpSocket::bind("127.0.0.1:0")?;
            Ok(())
        }),
        ["calls", times] => timed(times, || {
            std::hint::black_box(rustix::process::getppid());
            Ok(())
        }),
        ["switches", times] => switches(times),
        ["faults", times] => {
            const PAGE: usize = 4096;
            /// So large that the allocator maps it anew each time.
            const LARGE: usize = 64 << 20;
            let times: usize = times.parse()?;
            let started_ns = now_ns();
            let mut memory = vec![0u8; times * PAGE + LARGE];
            memory
                .chunks_mut(PAGE)
                .take(times)
                .for_each(|page| page[0] = std::hint::black_box(1));
            std::hint::black_box(&memory);
            Ok((now_ns() - started_ns).to_string())
        }
        ["round-trips", times] => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            let mut here = connect(listener.local_addr()?)?;
            let (mut there, _) = listener.accept()?;
            there.set_nodelay(true)?;
            timed(times, || {
                here.write_all(&[7; REQUEST_LEN])?;
                one_answer(&mut there)?;
                there.write_all(&[7; REQUEST_LEN])?;
                one_answer(&mut here)
            })
        }
        ["requests", address, times] => {
            let mut stream = connect(address.parse()?)?;
            timed(times, || one_request(&mut stream))
        }
        ["connections", address, times] => {
            let address = address.parse()?;
            timed(times, || {
                let mut stream = connect(address)?;
                // Reset at its end: thousands of them would wait for their port otherwise.
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                one_request(&mut stream)
            })
        }
        ["datagrams", times] => Ok(Arrived::of(times.parse()?)?.to_string()),
        _ => bail!("no such work"),
    }
}

/// Does something so many times; the nanoseconds that all took.
fn timed(times: &str, mut once: impl FnMut() -> Result<()>) -> Result<String> {
    let times: u32 = times.parse()?;
    let started_ns = now_ns();
    for _ in 0..times {
        once()?;
    }
    Ok((now_ns() - started_ns).to_string())
}

/// Round trips of datagrams between two sockets, in one thread: no scheduler in what is measured.
fn exchange() -> Result<impl FnMut() -> Result<()>> {
    let (here, there) = (
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    );
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    for socket in [&here, &there] {
        socket.set_read_timeout(Some(SOCKET_PATIENCE))?;
    }
    let mut buffer = [0; REQUEST_LEN];
    Ok(move || {
        here.send(&[7; REQUEST_LEN])?;
        there.recv(&mut buffer)?;
        there.send(&[7; REQUEST_LEN])?;
        here.recv(&mut buffer)?;
        Ok(())
    })
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, SOCKET_PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SOCKET_PATIENCE))?;
    Ok(stream)
}

fn one_request(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&[7; REQUEST_LEN])?;
    one_answer(stream)
}

fn one_answer(stream: &mut TcpStream) -> Result<()> {
    let mut answer = [0; REQUEST_LEN];
    stream.read_exact(&mut answer)?;
    Ok(())
}

/// Two threads on one CPU wake each other through pipes: two switches and two wakeups each time.
fn switches(times: &str) -> Result<String> {
    let mut one = rustix::thread::CpuSet::new();
    one.set(0);
    let before = rustix::thread::sched_getaffinity(None)?;
    rustix::thread::sched_setaffinity(None, &one)?;
    let ((mut here_in, mut there_out), (mut there_in, mut here_out)) = (io::pipe()?, io::pipe()?);
    let other = thread::spawn(move || {
        let mut byte = [0];
        // Until the other end is gone.
        while there_in.read_exact(&mut byte).is_ok() && there_out.write_all(&byte).is_ok() {}
    });
    let answer = timed(times, || {
        let mut byte = [0];
        here_out.write_all(&byte)?;
        here_in.read_exact(&mut byte)?;
        Ok(())
    });
    drop((here_out, here_in));
    let ended = other.join();
    rustix::thread::sched_setaffinity(None, &before)?;
    if ended.is_err() {
        bail!("a thread panicked");
    }
    answer
}

/// What became of numbered datagrams.
struct Arrived {
    arrived: u64,
    /// Rows of missing ones.
    gaps: u64,
}

impl Arrived {
    /// Sends so many from one socket to another, and takes in at once what arrives.
    fn of(sent: u64) -> Result<Self> {
        let (from, to) = (
            UdpSocket::bind("127.0.0.1:0")?,
            UdpSocket::bind("127.0.0.1:0")?,
        );
        from.connect(to.local_addr()?)?;
        to.set_nonblocking(true)?;
        let mut seen = vec![false; usize::try_from(sent)?];
        for n in 0..sent {
            from.send(&n.to_le_bytes())?;
            take_in(&to, &mut seen)?;
            if n % 64 == 0 {
                // Packets may be left to a kernel thread: let it, before they are too many for the socket.
                thread::yield_now();
            }
        }
        thread::sleep(Duration::from_millis(200));
        take_in(&to, &mut seen)?;
        let gaps = (0..seen.len()).filter(|n| !seen[*n] && (*n == 0 || seen[*n - 1]));
        Ok(Self {
            gaps: gaps.count() as u64,
            arrived: seen.iter().filter(|seen| **seen).count() as u64,
        })
    }
}

impl std::fmt::Display for Arrived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.arrived, self.gaps)
    }
}

fn take_in(socket: &UdpSocket, seen: &mut [bool]) -> Result<()> {
    let mut number = [0; 8];
    loop {
        match socket.recv(&mut number) {
            Ok(_) => {
                let n = usize::try_from(u64::from_le_bytes(number))?;
                *seen.get_mut(n).context("a datagram of somebody else")? = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The lines of a process as they come, so that they can be waited for with a limit.
pub(crate) fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    // Ends with the process's output.
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A running worker, as the benchmark sees it; ends when dropped.
pub(crate) struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
}

impl Worker {
    /// Starts one in a cgroup, as the last arguments of `before` (a tool that runs it), and waits until it is there.
    pub(crate) fn start(before: &[&str], cgroup: &Path) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match before {
            [] => Command::new(&program),
            [tool, arguments @ ..] => {
                let mut command = Command::new(tool);
                command.args(arguments).arg(&program);
                command
            }
        };
        let mut child = command
            .args(["work", "--cgroup"])
            .arg(cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start a worker {}", before.join(" ")))?;
        let requests = child.stdin.take();
        let output = child.stdout.take().context("a worker without output")?;
        let worker = Self {
            child,
            requests,
            answers: lines(output),
        };
        worker.line()?;
        Ok(worker)
    }

    /// Has it do something; the numbers that it answers.
    pub(crate) fn ask(&mut self, request: &str) -> Result<Vec<u64>> {
        let requests = self.requests.as_mut().context("a worker without input")?;
        writeln!(requests, "{request}")?;
        let answer = self.line().with_context(|| format!("`{request}`"))?;
        let numbers = answer.split(' ').map(str::parse);
        Ok(numbers.collect::<Result<_, _>>()?)
    }

    fn line(&self) -> Result<String> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("no answer within {PATIENCE:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the worker has ended"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        // A worker at work notices only afterwards.
        if !matches!(
            self.answers.recv_timeout(SOCKET_PATIENCE),
            Err(mpsc::RecvTimeoutError::Disconnected)
        ) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
