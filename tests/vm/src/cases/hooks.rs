//! When faults end, at every kind of hook: at their time, with the lease, and with the process that holds them.

use std::{
    net::UdpSocket,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use observastack_loader::{clock::monotonic_ns, has_tcx};

use super::Case;
use crate::{
    agent::{Agent, Calls, Protocol},
    holder::{DELAY, Held, Holder},
    rules::{LOCALHOST, LONG, Plan, after, errno},
    scene::Scene,
    traffic::{Acceptor, MESSAGE_LEN, message, outside},
};

macro_rules! cases {
    ($($name:ident: $held:ident),* $(,)?) => {$(
        pub(super) const $name: &[Case] = &[
            ("end_at_their_time_with_nobody_ticking", |scene| end(scene, Held::$held)),
            ("stop_with_the_lease_and_resume_with_it", |scene| lapse(scene, Held::$held)),
            ("are_gone_after_kill_9_of_their_holder", |scene| kill_9(scene, Held::$held)),
        ];
    )*};
}

cases! {
    SLICE: Slice,
    ADDRESS: Address,
    INTERFACE: Interface,
    ROOT: Root,
    SECURITY: Security,
    TRACEPOINT: Tracepoint,
}

const UNIT: &str = "target.service";

/// How long a fault holds that is to end by itself. Long enough to see it act, also where everything is emulated.
const HOLDS: Duration = Duration::from_secs(4);

/// A little later than the very moment.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a packet that is not to come is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// A unit with what each fault needs to be seen.
struct Stage {
    held: Held,
    cgroup: PathBuf,
    folder: tempfile::TempDir,
    target: Agent,
    calls: Calls,
    server: Acceptor,
    socket: UdpSocket,
}

impl Stage {
    fn set(scene: &mut Scene, held: Held) -> Result<Self> {
        if held == Held::Root {
            scene.prepare_fq()?;
        }
        let folder = tempfile::tempdir()?;
        let cgroup = scene.make_unit(UNIT)?;
        let mut target = scene.client(&cgroup)?;
        let calls = target.prepare_calls(&folder.path().join("calls"))?;
        let stage = Self {
            held,
            cgroup,
            folder,
            target,
            calls,
            server: Acceptor::start(LOCALHOST)?,
            socket: outside(LOCALHOST)?,
        };
        Ok(stage)
    }

    /// Whether the unit's very next event is faulted.
    fn is_faulted(&mut self, scene: &Scene) -> Result<bool> {
        let seen = match self.held {
            Held::Address => {
                self.target
                    .connect(Protocol::Tcp, self.server.address, 1)?
                    .as_slice()
                    == [errno::ECONNREFUSED]
            }
            Held::Security => self.target.call(self.calls, "mkdir", 1)? == [errno::EIO],
            Held::Slice => {
                let sink = self.target.udp_sink(LOCALHOST)?;
                self.socket.send_to(&message(1, 0), sink.address)?;
                thread::sleep(PATIENCE);
                self.target.received(sink)?.is_empty()
            }
            Held::Interface => {
                let to = self.socket.local_addr()?;
                self.target.udp_send(LOCALHOST, to, 0..1, MESSAGE_LEN)?;
                self.answer(PATIENCE)?.is_none()
            }
            Held::Root => {
                let server = self.target.udp_echo(LOCALHOST)?;
                let started = Instant::now();
                self.socket.send_to(&message(1, 0), server)?;
                ensure!(self.answer(scene.deadline())?.is_some(), "no answer");
                started.elapsed() >= DELAY
            }
            Held::Tracepoint => {
                let mut victim = scene.client(&self.cgroup)?;
                let log = self.folder.path().join("log");
                victim.getppid(&log, 1).is_err() && victim.killed_by()? != 0
            }
        };
        Ok(seen)
    }

    /// A datagram, if one comes in time.
    fn answer(&self, patience: Duration) -> Result<Option<usize>> {
        self.socket.set_read_timeout(Some(patience))?;
        match self.socket.recv(&mut [0; MESSAGE_LEN]) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Sleeps until a time of `CLOCK_MONOTONIC` has passed.
fn pass(time_ns: u64) {
    thread::sleep(Duration::from_nanos(time_ns.saturating_sub(monotonic_ns())) + MOMENT);
}

fn end(scene: &mut Scene, held: Held) -> Result<()> {
    let mut stage = Stage::set(scene, held)?;
    ensure!(!stage.is_faulted(scene)?, "faulted before");
    // Once without an end, for what loading and attaching take.
    let armed = scene.arm(UNIT, held.rule(Plan::always()))?;
    ensure!(stage.is_faulted(scene)?, "not faulted");
    scene.disarm(armed)?;
    ensure!(!stage.is_faulted(scene)?, "faulted after it was cleared");
    let end_ns = after(HOLDS);
    let armed = scene.arm(UNIT, held.rule(Plan::always().ending(end_ns)))?;
    ensure!(stage.is_faulted(scene)?, "not faulted before its end");
    pass(end_ns);
    let counts = scene.counts(armed)?;
    ensure!(!stage.is_faulted(scene)?, "faulted after its end");
    ensure!(
        counts.injected > 0 && scene.counts(armed)? == counts,
        "{counts:?} at the end, {:?} later",
        scene.counts(armed)?
    );
    Ok(())
}

fn lapse(scene: &mut Scene, held: Held) -> Result<()> {
    let mut stage = Stage::set(scene, held)?;
    let armed = scene.arm(UNIT, held.rule(Plan::always()))?;
    let lapse_ns = after(HOLDS);
    scene.loader.set_lease(lapse_ns)?;
    ensure!(stage.is_faulted(scene)?, "not faulted");
    pass(lapse_ns);
    let counts = scene.counts(armed)?;
    ensure!(!stage.is_faulted(scene)?, "faulted without a lease");
    let later = scene.counts(armed)?;
    ensure!(
        counts.skipped == 0 && later.skipped > 0 && later.matched == counts.matched,
        "{counts:?} when it lapsed, {later:?} later"
    );
    scene.loader.set_lease(after(LONG))?;
    ensure!(stage.is_faulted(scene)?, "not faulted with a new lease");
    Ok(())
}

/// A program that is a link goes with its process. A filter of `clsact` stays, and the lease, which nobody renews, ends it.
fn kill_9(scene: &mut Scene, held: Held) -> Result<()> {
    let outlives = held == Held::Interface && !has_tcx();
    let mut stage = Stage::set(scene, held)?;
    let lease = if outlives { 3 * HOLDS } else { LONG };
    let mut holder = Holder::start(scene, UNIT, &[held], lease)?;
    // The lease began before the holder was ready.
    let lapsed_ns = after(lease);
    ensure!(stage.is_faulted(scene)?, "not faulted while it is held");
    holder.kill()?;
    if outlives {
        if !stage.is_faulted(scene)? {
            bail!("a filter of clsact is gone with its process: the test is wrong about it");
        }
        pass(lapsed_ns);
    } else {
        thread::sleep(scene.lab.kernel.gone_after_kill());
    }
    ensure!(
        !stage.is_faulted(scene)?,
        "still faulted after its holder's death"
    );
    Ok(())
}
