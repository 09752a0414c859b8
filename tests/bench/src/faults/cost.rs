//! What the same work costs with nothing, under a rule that never faults, through a user-space proxy, and under
//! `strace --inject`, in turns.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use observastack_loader::{
    Rule,
    abi::packet::{DIRECTION_IN, DIRECTION_OUT},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    ground::{Ground, UNIT},
    rules::Plan,
};
use crate::{
    proxy::PROXY_READY,
    stats::median,
    worker::{Worker, lines},
};

/// Requests on one connection, and connections of one request, in each turn.
const REQUESTS: u32 = 2_000;
const CONNECTIONS: u32 = 400;

/// Before either of them.
const WARM_UP: u32 = 50;

/// Connections that the server has at a time: each client has one, and the last may not be over yet.
const SERVERS: usize = 4;

/// How long the proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What strace is told: an error that never comes, as a rule of 0 % is. It counts to 65,535, and its client makes fewer.
const STRACE: [&str; 7] = [
    "strace",
    "--follow-forks",
    "--quiet=all",
    "--output=/dev/null",
    "--trace=connect",
    "--inject=connect:error=ECONNREFUSED:when=65535",
    "--",
];

/// What work is done under.
struct Variant {
    name: &'static str,
    rules: Vec<Rule>,
    /// Which of the workers does it.
    worker: usize,
    is_proxied: bool,
    requests: Vec<f64>,
    connections: Vec<f64>,
}

pub(super) fn run(object: &Path, root: &Path, turns: u32) -> Result<()> {
    ensure!(
        turns * (CONNECTIONS + 2 * WARM_UP) < 60_000,
        "so many turns would make strace's error come: at most {}",
        60_000 / (CONNECTIONS + 2 * WARM_UP)
    );
    let before = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(
        (0..CpuSet::MAX_CPU)
            .find(|cpu| before.is_set(*cpu))
            .context("no CPU to run on")?,
    );
    sched_setaffinity(None, &one)?;
    let measured = on_one_cpu(object, root, turns);
    sched_setaffinity(None, &before)?;
    measured
}

/// Client, server, proxy and strace all inherit the one CPU: on more, how soon an idle one wakes outweighs what is measured.
fn on_one_cpu(object: &Path, root: &Path, turns: u32) -> Result<()> {
    let ground = Ground::make(root)?;
    let server = serve()?;
    let proxy = Proxy::start(server)?;
    let mut fast = STRACE.to_vec();
    fast.insert(1, "--seccomp-bpf");
    let mut workers = [
        Worker::start(&[], &ground.unit)?,
        Worker::start(&STRACE, &ground.unit).context("is strace installed?")?,
        Worker::start(&fast, &ground.unit)?,
    ];
    let mut loader = ground.load(object)?;
    let never = Plan::of(0.0, 1);
    let variant = |name, rules, worker, is_proxied| Variant {
        name,
        rules,
        worker,
        is_proxied,
        requests: Vec::new(),
        connections: Vec::new(),
    };
    let both_ways = never.direction(DIRECTION_IN | DIRECTION_OUT);
    let mut variants = [
        variant("reference: nothing", vec![], 0, false),
        variant(
            "`packet-loss` of 0 %, in and out",
            vec![both_ways.loss()],
            0,
            false,
        ),
        variant(
            "`connect-error` of 0 %",
            vec![never.connect_error()],
            0,
            false,
        ),
        variant("a user-space TCP proxy", vec![], 0, true),
        variant("`strace -f --inject=connect:...`", vec![], 1, false),
        variant("the same with `--seccomp-bpf`", vec![], 2, false),
    ];
    for turn in 0..turns as usize {
        for at in 0..variants.len() {
            // Each comes after each of the others: what one leaves in the caches is another's gift.
            let stride = if turn % 2 == 0 { 1 } else { variants.len() - 1 };
            let at = (turn + at * stride) % variants.len();
            let variant = &mut variants[at];
            let mut armed = Vec::new();
            for rule in &variant.rules {
                armed.push(loader.arm(UNIT, rule)?);
            }
            let address = if variant.is_proxied {
                proxy.address
            } else {
                server
            };
            for what in ["requests", "connections"] {
                workers[variant.worker].ask(&format!("{what} {address} {WARM_UP}"))?;
            }
            let mut each_us = |what: &str, times: u32| -> Result<f64> {
                let took = workers[variant.worker].ask(&format!("{what} {address} {times}"))?;
                let took_ns = took.first().context("an empty answer")?;
                Ok(*took_ns as f64 / 1e3 / f64::from(times))
            };
            variant.requests.push(each_us("requests", REQUESTS)?);
            variant
                .connections
                .push(each_us("connections", CONNECTIONS)?);
            for armed in armed {
                let counts = loader.disarm(armed)?;
                ensure!(
                    counts.matched > 0 && counts.injected == 0,
                    "{}: {counts:?}",
                    variant.name
                );
            }
            // The next variant has nothing attached.
            loader.detach_idle();
        }
    }
    println!(
        "| work under | µs a request on one connection | times the reference | µs a connection with one request | times the reference |"
    );
    println!("|---|---|---|---|---|");
    let reference = [&variants[0].requests, &variants[0].connections].map(Clone::clone);
    for variant in &variants {
        // Of each turn by itself: what else the machine did then slowed both.
        let times = |taken: &[f64], reference: &[f64]| {
            let ratios = taken.iter().zip(reference).map(|(taken, of)| taken / of);
            median(&ratios.collect::<Vec<_>>())
        };
        println!(
            "| {} | {:.1} | {:.2} | {:.1} | {:.2} |",
            variant.name,
            median(&variant.requests),
            times(&variant.requests, &reference[0]),
            median(&variant.connections),
            times(&variant.connections, &reference[1])
        );
    }
    println!();
    Ok(())
}

/// An echo server outside the unit, until this program ends. Its threads are there before the connections.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    for _ in 0..SERVERS {
        let listener = listener.try_clone()?;
        thread::spawn(move || listener.incoming().flatten().for_each(echo));
    }
    Ok(address)
}

fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// The proxy in a process of its own, as proxies are.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(server: SocketAddr) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["proxy", "--to", &server.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the proxy")?;
        let output = child.stdout.take().context("a proxy without output")?;
        let mut proxy = Self {
            child,
            address: server,
        };
        let line = lines(output)
            .recv_timeout(PATIENCE)
            .context("the proxy is not ready")?;
        let address = line.strip_prefix(PROXY_READY);
        proxy.address = address.context("the proxy has no address")?.parse()?;
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
