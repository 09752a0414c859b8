//! `slow-receiver`: peers of a unit stall or crawl, on connections that are there already, and all arrives in the end.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::Case;
use crate::{
    agent::{Agent, Receiver},
    rules::{LOCALHOST, Plan},
    scene::{Scene, figure},
    streams,
    tool::run,
    wait,
};

pub(super) const CASES: &[Case] = &[
    ("of_window_0_stalls_a_live_ipv4_connection", |scene| {
        stalls(scene, Ipv4Addr::LOCALHOST.into())
    }),
    ("of_window_0_stalls_a_live_ipv6_connection", |scene| {
        stalls(scene, Ipv6Addr::LOCALHOST.into())
    }),
    ("of_a_small_window_lets_a_connection_crawl", crawls),
    ("lets_connections_open", opens),
    ("with_a_port_leaves_other_connections_alone", port),
];

const UNIT: &str = "target.service";

/// More than both ends' buffers take.
const STREAM: u64 = 32 << 20;
const FIRST: u64 = 100;

/// How long a connection that must not go on is looked at.
const STALL: Duration = Duration::from_secs(1);

/// A connection with a first message behind it, and a thread that writes the rest, whatever time it takes.
struct Sender {
    port: u16,
    writing: thread::JoinHandle<Result<TcpStream>>,
}

impl Sender {
    /// Writes the rest of a stream.
    fn start(mut stream: TcpStream) -> Result<Self> {
        let port = stream.local_addr()?.port();
        let writing = thread::spawn(move || {
            streams::write(&mut stream, FIRST, STREAM)?;
            Ok(stream)
        });
        Ok(Self { port, writing })
    }

    fn join(self) -> Result<TcpStream> {
        self.writing
            .join()
            .map_err(|_| anyhow::anyhow!("a sender panicked"))?
    }
}

fn live(scene: &Scene, client: &mut Agent, receiver: Receiver) -> Result<TcpStream> {
    let mut stream = streams::connect(receiver.address, 0)?;
    streams::write(&mut stream, 0, FIRST)?;
    arrives(scene, client, receiver, FIRST)?;
    Ok(stream)
}

fn arrives(scene: &Scene, client: &mut Agent, receiver: Receiver, bytes: u64) -> Result<()> {
    wait::until(scene.deadline(), &format!("{bytes} bytes arrive"), || {
        Ok(client.tcp_received(receiver)?.bytes >= bytes)
    })
}

/// Whether a connection's sender asks its peer for room: `zero window probe timer` (4) in `/proc/net/tcp`.
fn is_probing(port: u16, ip: IpAddr) -> Result<bool> {
    let table = if ip.is_ipv4() {
        "/proc/net/tcp"
    } else {
        "/proc/net/tcp6"
    };
    let own = format!(":{port:04X}");
    let text = fs::read_to_string(table)?;
    let line = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1).is_some_and(|local| local.ends_with(&own)))
        .context("the connection is gone")?;
    // sl local remote st tx:rx tr:when
    let timer = line.get(5).and_then(|timer| timer.split(':').next());
    Ok(timer == Some("04"))
}

/// How many bytes a connection's sender believes that its peer has room for, and the scale of the field that said so.
fn peers_window(port: u16) -> Result<(u64, u32)> {
    let shown = run(&format!("ss -Htin sport = :{port}"))?;
    let value = |name: &str| {
        let mut words = shown.split_whitespace();
        words
            .find_map(|word| word.strip_prefix(name))
            .with_context(|| format!("ss shows no {name} {shown}"))
    };
    // First the scale of what is received from the peer, then of what is told to it.
    let scales = value("wscale:")?;
    let scale = scales.split(',').next().unwrap_or(scales);
    Ok((value("snd_wnd:")?.parse()?, scale.parse()?))
}

fn stalls(scene: &mut Scene, ip: IpAddr) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let (receiver, other) = (target.tcp_receiver(ip)?, bystander.tcp_receiver(ip)?);
    let stream = live(scene, &mut target, receiver)?;
    let armed = scene.arm(UNIT, Plan::always().outward().window(0))?;
    let sender = Sender::start(stream)?;

    let took = streams::send_all(streams::connect(other.address, 0)?, STREAM)?;
    figure(&format!("the bystander takes {took:?}"));
    wait::until(scene.deadline(), "the sender asks for room", || {
        is_probing(sender.port, ip)
    })?;
    let before = target.tcp_received(receiver)?;
    thread::sleep(STALL);
    let after = target.tcp_received(receiver)?;
    // A sender may ask with a byte of its data, where it has room for one.
    ensure!(
        after.bytes - before.bytes <= 16 && after.bytes < STREAM / 2,
        "{before:?}, a second later {after:?}"
    );
    ensure!(
        is_probing(sender.port, ip)? && !sender.writing.is_finished(),
        "the sender goes on"
    );

    let counts = scene.disarm(armed)?;
    ensure!(
        counts.matched > 1 && counts.injected == counts.matched,
        "{counts:?}"
    );
    let stream = sender.join()?;
    arrives(scene, &mut target, receiver, STREAM)?;
    let last = target.tcp_received(receiver)?;
    ensure!((last.bytes, last.wrong) == (STREAM, 0), "{last:?}");
    drop(stream);
    let other = bystander.tcp_received(other)?;
    ensure!((other.bytes, other.wrong) == (STREAM, 0), "{other:?}");
    Ok(())
}

fn crawls(scene: &mut Scene) -> Result<()> {
    const WINDOW: u16 = 16;
    let mut target = scene.unit(UNIT)?;
    let receiver = target.tcp_receiver(LOCALHOST)?;
    let stream = live(scene, &mut target, receiver)?;
    // With the usual scales of 7 to 10, 2 to 16 KiB.
    let armed = scene.arm(UNIT, Plan::always().outward().window(WINDOW))?;
    let sender = Sender::start(stream)?;
    // What was announced before still holds; then it crawls.
    wait::until(scene.deadline(), "the window is made smaller", || {
        Ok(scene.counts(armed)?.injected > 0)
    })?;
    thread::sleep(STALL);
    let (window, scale) = peers_window(sender.port)?;
    ensure!(
        window <= u64::from(WINDOW) << scale,
        "the sender knows of {window} bytes, {WINDOW} were asked with a scale of {scale}"
    );
    let before = target.tcp_received(receiver)?;
    wait::until(scene.deadline(), "some bytes still arrive", || {
        Ok(target.tcp_received(receiver)?.bytes > before.bytes)
    })?;
    thread::sleep(STALL);
    let after = target.tcp_received(receiver)?;
    figure(&format!("{} bytes in a second", after.bytes - before.bytes));
    ensure!(
        after.bytes < STREAM / 2 && !sender.writing.is_finished(),
        "{before:?}, later {after:?}"
    );
    let counts = scene.disarm(armed)?;
    ensure!(counts.injected == counts.matched, "{counts:?}");
    drop(sender.join()?);
    arrives(scene, &mut target, receiver, STREAM)?;
    let last = target.tcp_received(receiver)?;
    ensure!((last.bytes, last.wrong) == (STREAM, 0), "{last:?}");
    Ok(())
}

/// A SYN's window is no promise that is kept, so a connection opens as always.
fn opens(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let receiver = target.tcp_receiver(LOCALHOST)?;
    let armed = scene.arm(UNIT, Plan::always().outward().window(0))?;
    let stream = live(scene, &mut target, receiver)?;
    let sender = Sender::start(stream)?;
    wait::until(scene.deadline(), "the sender asks for room", || {
        is_probing(sender.port, LOCALHOST.into())
    })?;
    scene.disarm(armed)?;
    drop(sender.join()?);
    arrives(scene, &mut target, receiver, STREAM)
}

fn port(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let covered = target.tcp_receiver(LOCALHOST)?;
    let other = target.tcp_receiver(LOCALHOST)?;
    let stream = live(scene, &mut target, covered)?;
    let plan = Plan::always().outward().port(covered.address.port());
    let armed = scene.arm(UNIT, plan.window(0))?;
    streams::send_all(streams::connect(other.address, 0)?, STREAM)?;
    let counts = scene.counts(armed)?;
    ensure!(counts.matched == 0, "another port: {counts:?}");
    let sender = Sender::start(stream)?;
    wait::until(scene.deadline(), "the sender asks for room", || {
        is_probing(sender.port, LOCALHOST.into())
    })?;
    scene.disarm(armed)?;
    drop(sender.join()?);
    arrives(scene, &mut target, covered, STREAM)
}
