//! Faults of packets that need the queue `fq`, on the lab's own units in a virtual machine.
//!
//! Emulated, everything takes 10 to 20 times as long: lower bounds and events are asked for, never how fast something was.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command, ends, figures, http,
    lab::{self, API_1},
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "vm_latency_delays_one_api_and_takes_its_queue_away",
            latency,
        ),
        test("vm_latency_ends_in_every_way", latency_ends),
        test("vm_bandwidth_slows_one_api_to_its_rate", bandwidth),
    ]
}

/// Long enough for everything that is done while a fault holds.
const LONG: &str = "10m";

const ONE: &str = "http://127.0.0.1:8101/products?limit=3";
const TWO: &str = "http://127.0.0.1:8102/products?limit=3";

/// How long an answer takes, and how many bytes it has.
fn took(url: &str) -> Result<(Duration, usize)> {
    let begun = Instant::now();
    let answer = http::curl(&[url])?;
    ensure!(answer.status == 200, "{url} answers {}", answer.status);
    Ok((begun.elapsed(), answer.head.len() + answer.body.len()))
}

fn queues() -> Result<String> {
    command::output(&["tc", "qdisc", "show"])
}

fn latency() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(400);
    let before = queues()?;
    ensure!(!before.contains("qdisc fq "), "{before}");
    took(ONE)?;
    let id = lab::inject(&[
        "latency", "--unit", API_1, "--delay", "400ms", "--port", "5440", "--for", LONG,
    ])?;
    ensure!(queues()?.contains("qdisc fq "), "no queue");
    let (slow, _) = took(ONE)?;
    ensure!(
        slow >= DELAY,
        "an answer took {slow:?}, {DELAY:?} were asked"
    );
    let (other, _) = took(TWO)?;
    ensure!(
        other < slow,
        "the bystander took {other:?}, the target {slow:?}"
    );
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? > 0, "{ended}");
    ensure!(queues()? == before, "{} instead of {before}", queues()?);
    let (after, _) = took(ONE)?;
    ensure!(after < slow, "after the clear an answer took {after:?}");
    Ok(())
}

/// What the kernel holds, and the queue that it needs, which is journalled.
fn latency_ends() -> Result<()> {
    let before = queues()?;
    ends::in_every_way(
        "latency's queue",
        ends::journalled(),
        |held| {
            lab::inject(&[
                "latency", "--unit", API_1, "--delay", "100ms", "--for", held,
            ])
        },
        || Ok(queues()? != before),
    )
}

fn bandwidth() -> Result<()> {
    const BITS_PER_S: f64 = 32_000.0;
    let page = |port: u16| format!("http://127.0.0.1:{port}/products?limit=100");
    let (free, _) = took(&page(8101))?;
    let id = lab::inject(&[
        "bandwidth",
        "--unit",
        API_1,
        "--rate",
        "32kbit",
        "--port",
        "8101",
        "--for",
        LONG,
    ])?;
    let (slow, bytes) = took(&page(8101))?;
    let (other, _) = took(&page(8102))?;
    let ended = lab::clear(id)?;
    let (after, _) = took(&page(8101))?;
    let least = Duration::from_secs_f64(bytes as f64 * 8.0 / BITS_PER_S);
    figures::note(format!(
        "{bytes} bytes: {free:?} freely, {slow:?} at 32 kbit/s, which gives {least:?}; {other:?} from a bystander, {after:?} afterwards"
    ));
    ensure!(lab::count(&ended, "injected")? > 0, "{ended}");
    ensure!(
        slow >= least && least > Duration::from_secs(1),
        "{bytes} bytes took {slow:?}, the rate gives {least:?}"
    );
    ensure!(
        other < slow && after < slow,
        "{other:?} from a bystander and {after:?} afterwards, {slow:?} under the fault"
    );
    Ok(())
}
