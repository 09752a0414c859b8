//! The client's own side: a process inside a unit that does what it is told, line by line, and says what it saw.
//!
//! It enters its cgroup before it makes any socket, because a socket belongs to the cgroup of the process that made
//! it. Requests on standard input are `verb argument...`; the answer is one line on standard output, `ok ...` or
//! `error ...`. The end of standard input ends it.

mod calls;
mod connections;
mod sinks;
mod work;

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use self::{calls::Calls, sinks::Sink};
use crate::streams::{self, Receiver};

/// The argument that makes this program a client.
pub(crate) const VERB: &str = "client";

/// The argument that makes this program end at once, well.
pub(crate) const NOTHING: &str = "nothing";

/// The client's main function.
pub(crate) fn run(cgroup: &str) -> ExitCode {
    match serve(Path::new(cgroup)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter {}", cgroup.display()))?;
    let mut client = Client::default();
    let mut out = io::stdout().lock();
    writeln!(out, "ok")?;
    for line in io::stdin().lock().lines() {
        let answer = match client.answer(&line?) {
            Ok(answer) => format!("ok {answer}"),
            Err(error) => format!("error {error:#}"),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

#[derive(Default)]
struct Client {
    sinks: Vec<Sink>,
    receivers: Vec<Receiver>,
    calls: Vec<Calls>,
    listeners: Vec<socket2::Socket>,
}

impl Client {
    fn answer(&mut self, request: &str) -> Result<String> {
        let words: Vec<&str> = request.split(' ').collect();
        match words.as_slice() {
            ["udp-sink", address] => self.add(Sink::udp(address.parse()?)?),
            ["raw-sink"] => self.add(Sink::raw()?),
            ["connect-sink", sink, peer] => {
                let sink = get(&mut self.sinks, sink)?;
                sink.socket.connect(peer.parse::<SocketAddr>()?)?;
                Ok(String::new())
            }
            ["received", sink] => get(&mut self.sinks, sink)?.received(),
            ["tcp-echo", address] => connections::tcp_echo(address.parse()?),
            ["udp-echo", address] => connections::udp_echo(address.parse()?),
            ["udp-send", from, to, first, end, length] => {
                let numbers = first.parse()?..end.parse()?;
                connections::udp_send(from.parse()?, to.parse()?, numbers, length.parse()?)?;
                Ok(String::new())
            }
            ["connect", protocol, address, times] => {
                let (protocol, address) = (protocol.parse()?, address.parse()?);
                repeat(times, || connections::connect(protocol, address))
            }
            ["bind", protocol, address, times] => {
                let (protocol, address) = (protocol.parse()?, address.parse()?);
                repeat(times, || connections::bind(protocol, address))
            }
            ["connect-until-ok", protocol, address, limit_ms] => {
                let limit = Duration::from_millis(limit_ms.parse()?);
                connections::connect_until_ok(protocol.parse()?, address.parse()?, limit)
            }
            ["tcp-receive", ip] => {
                let receiver = Receiver::start(ip.parse()?)?;
                let address = receiver.address;
                self.receivers.push(receiver);
                Ok(format!("{} {address}", self.receivers.len() - 1))
            }
            ["tcp-received", receiver] => {
                let so_far = get(&mut self.receivers, receiver)?.so_far();
                Ok(format!(
                    "{} {} {}",
                    so_far.bytes, so_far.wrong, so_far.ended
                ))
            }
            ["tcp-send", address, bytes, mss] => {
                let stream = streams::connect(address.parse()?, mss.parse()?)?;
                let took = streams::send_all(stream, bytes.parse()?)?;
                Ok(took.as_nanos().to_string())
            }
            ["prepare-calls", folder] => {
                self.calls.push(Calls::prepare(Path::new(folder))?);
                Ok((self.calls.len() - 1).to_string())
            }
            ["call", calls, name, times] => {
                let calls = get(&mut self.calls, calls)?;
                repeat(times, || calls.once(name))
            }
            ["getppid", log, times] => {
                calls::getppid(Path::new(log), times.parse()?)?;
                Ok(String::new())
            }
            ["hammer", ms] => {
                let length = Duration::from_millis(ms.parse()?);
                Ok(calls::hammer(length).to_string())
            }
            ["stay-on", cpu] => {
                work::stay_on(cpu.parse()?)?;
                Ok(String::new())
            }
            ["burn", cpu, ms] => {
                let length = Duration::from_millis(ms.parse()?);
                Ok(work::burn(cpu.parse()?, length)?.to_string())
            }
            ["touch", pages] => Ok(work::touch(pages.parse()?)?.to_string()),
            ["eat", bytes] => Ok(work::eat(bytes.parse()?)),
            ["resets", address, times] => {
                work::resets(address.parse()?, times.parse()?)?;
                Ok(String::new())
            }
            ["requests", address, times] => {
                work::requests(address.parse()?, times.parse()?)?;
                Ok(String::new())
            }
            ["direct-io", path, reads, writes, flushes] => {
                let (reads, writes) = (reads.parse()?, writes.parse()?);
                work::direct_io(Path::new(path), reads, writes, flushes.parse()?)?;
                Ok(String::new())
            }
            ["listen", address, backlog] => {
                let listener = connections::listen(address.parse()?, backlog.parse()?)?;
                let address = listener.local_addr()?.as_socket().context("no address")?;
                self.listeners.push(listener);
                Ok(address.to_string())
            }
            ["sleeps", times, ms] => {
                let length = Duration::from_millis(ms.parse()?);
                (0..times.parse::<u64>()?).for_each(|_| std::thread::sleep(length));
                Ok(String::new())
            }
            ["open-missing", times] => {
                work::open_missing(times.parse()?);
                Ok(String::new())
            }
            _ => bail!("a client doesn't know the request `{request}`"),
        }
    }

    fn add(&mut self, sink: Sink) -> Result<String> {
        let address = sink.address();
        self.sinks.push(sink);
        Ok(format!("{} {address}", self.sinks.len() - 1))
    }
}

fn get<'a, T>(all: &'a mut [T], index: &str) -> Result<&'a mut T> {
    all.get_mut(index.parse::<usize>()?)
        .with_context(|| format!("there is no number {index}"))
}

/// Does something so many times; the results in a row.
fn repeat(times: &str, mut once: impl FnMut() -> Result<i32>) -> Result<String> {
    let mut answer = String::new();
    for _ in 0..times.parse::<u32>()? {
        write!(answer, "{} ", once()?)?;
    }
    Ok(answer)
}
