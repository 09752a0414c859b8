//! The ways in which every fault must end, told by whoever sees the fault act.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, kill_process};

use crate::{
    clock::{between, monotonic_ns},
    figures,
    lab::{self, INJECTOR},
    systemd, wait,
};

/// An emulated machine takes so many times as long.
static SLOWER: AtomicU32 = AtomicU32::new(1);

/// Allows everything more time: an emulated machine needs 10 to 20 times as much for what is computed, and a wait is as long there
/// as anywhere.
pub(crate) fn allow_for_emulation() {
    SLOWER.store(6, Ordering::Relaxed);
}

fn slower(time: Duration) -> Duration {
    time * SLOWER.load(Ordering::Relaxed)
}

/// What the kernel holds acts no longer without its injector.
pub(crate) fn kernel_held() -> Duration {
    slower(Duration::from_millis(100))
}

/// What the kernel does not undo is undone by others this soon.
pub(crate) fn journalled() -> Duration {
    slower(Duration::from_secs(2))
}

/// How long a fault that is to expire holds.
fn held_for() -> Duration {
    slower(Duration::from_millis(1_500))
}

/// Lets a fault begin and end in every way. `inject` takes how long it holds; `acts` looks whether it acts, in a moment.
///
/// A look that began later than `limit` after the injector was killed or stopped must not see it. That is strict as far
/// as a look can tell: what it sees may have been caused at its beginning.
pub(crate) fn in_every_way(
    what: &str,
    limit: Duration,
    inject: impl Fn(&str) -> Result<u64>,
    mut acts: impl FnMut() -> Result<bool>,
) -> Result<()> {
    ensure!(!acts()?, "{what} is there before it is injected");

    let id = inject("10m")?;
    begins(&mut acts).context("before clear")?;
    lab::clear(id)?;
    let took = gone(monotonic_ns(), &mut acts).context("after clear")?;
    ensure!(
        took <= slack(limit),
        "{what} acted for {took:?} after it was cleared"
    );

    let end = held_for();
    let held = format!("{}ms", end.as_millis());
    let began_ns = monotonic_ns();
    let id = inject(&held)?;
    let injected_ns = monotonic_ns();
    begins(&mut acts).context("before expiry")?;
    let over_ns = injected_ns + u64::try_from(end.as_nanos())?;
    let took = gone(over_ns, &mut acts).context("after expiry")?;
    ensure!(
        took <= slack(limit),
        "{what} acted for {took:?} after its end"
    );
    ensure!(
        between(began_ns, monotonic_ns()) >= end,
        "{what} ended before its time"
    );
    wait::until_true(wait::SOON, "it is shown as expired", || {
        Ok(lab::fault(id)?["state"] == "expired")
    })?;

    inject("10m")?;
    begins(&mut acts).context("before the kill")?;
    let process = systemd::kill_9(INJECTOR)?;
    let after_kill = gone(monotonic_ns(), &mut acts).context("after kill -9")?;
    systemd::wait_restarted(INJECTOR, process)?;
    ensure!(!acts()?, "{what} acts again after the restart");
    let known = lab::faults()?;
    ensure!(known.is_empty(), "the new injector knows {known:?}");

    inject("10m")?;
    begins(&mut acts).context("before the stop")?;
    let process = lab::main_process(INJECTOR)?;
    kill_process(process, Signal::STOP)?;
    let after_stop = gone(monotonic_ns(), &mut acts).context("after SIGSTOP")?;
    kill_process(process, Signal::CONT)?;
    lab::ctl(&["clear", "--all"])?;
    let took = gone(monotonic_ns(), &mut acts).context("after clear --all")?;
    ensure!(
        took <= slack(limit),
        "{what} acted for {took:?} after all was cleared"
    );

    figures::note(format!(
        "{what} was last seen {after_kill:?} after kill -9, {after_stop:?} after SIGSTOP"
    ));
    ensure!(
        after_kill <= limit,
        "{what} outlived the injector by {after_kill:?}"
    );
    ensure!(
        after_stop <= limit,
        "{what} acted for {after_stop:?} without its injector"
    );
    Ok(())
}

/// Undone before the answer; what systemd or a process does about it takes a moment.
fn slack(limit: Duration) -> Duration {
    slower(if limit == kernel_held() {
        Duration::from_millis(10)
    } else {
        Duration::from_secs(1)
    })
}

fn begins(acts: &mut impl FnMut() -> Result<bool>) -> Result<()> {
    wait::until_true(wait::SOON, "it acts", acts)
}

/// Waits until it acts no longer; how long after `since_ns` the last look began that still saw it.
fn gone(since_ns: u64, acts: &mut impl FnMut() -> Result<bool>) -> Result<Duration> {
    let mut last = Duration::ZERO;
    wait::until_true(wait::SOON, "it acts no longer", || {
        let began_ns = monotonic_ns();
        if !acts()? {
            return Ok(true);
        }
        last = between(since_ns, began_ns);
        Ok(false)
    })?;
    Ok(last)
}
