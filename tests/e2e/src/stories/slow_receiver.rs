//! `slow-receiver`: a unit's peers find no room for what they send, on live connections too, and go on when it is over.

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;

use crate::{agents::TcpSink, command, ends, figures, lab, story::test, wait};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "slow_receiver::a_window_of_0_stalls_a_live_transfer_that_is_completed_after_clear",
            stalls,
        ),
        test(
            "slow_receiver::a_small_window_slows_and_a_bystander_is_not_slowed",
            slows,
        ),
        test("slow_receiver::it_ends_in_every_way", every_way),
    ]
}

const MIB: usize = 1 << 20;

fn inject(unit: &str, window: &str, held: &str) -> Result<u64> {
    let words = ["slow-receiver", "--unit", unit, "--window", window];
    lab::inject(&[&words[..], &["--for", held]].concat())
}

/// What ss says about the sending side of the connections into a port.
fn sender(port: u16) -> Result<String> {
    let filter = format!("dport = :{port}");
    command::output(&["ss", "-HOtino", "state", "established", &filter])
}

fn stalls() -> Result<()> {
    const SIZE: usize = 64 * MIB;
    let sink = TcpSink::start("window", 9870)?;
    let mut stream = sink.connect(Duration::from_secs(50))?;
    stream.write_all(&vec![7; MIB])?;
    wait::until_true(wait::SOON, "the first bytes are read", || {
        Ok(sink.seen()?.bytes == MIB as u64)
    })?;
    let id = inject(&sink.unit(), "0", "10m")?;
    let total = thread::scope(|scope| -> Result<String> {
        let transfer = scope.spawn(move || -> std::io::Result<String> {
            stream.write_all(&vec![7; SIZE])?;
            stream.shutdown(Shutdown::Write)?;
            let mut total = String::new();
            stream.read_to_string(&mut total)?;
            Ok(total)
        });
        // The sender waits for room: its persist timer runs, in the network stack's own words.
        wait::until_true(wait::SOON, "ss shows the persist timer", || {
            Ok(sender(9870)?.contains("timer:(persist,"))
        })?;
        let before = sink.seen()?.bytes;
        let probes = lab::count(&lab::fault(id)?, "injected")?;
        // Two probes and their answers later it still stands where it stood.
        wait::until_true(wait::SOON, "the sender probes the window", || {
            Ok(lab::count(&lab::fault(id)?, "injected")? >= probes + 2)
        })?;
        let after = sink.seen()?.bytes;
        ensure!(
            after - before <= 64 && !transfer.is_finished(),
            "{} bytes came through a closed window",
            after - before
        );
        let ended = lab::clear(id)?;
        ensure!(lab::count(&ended, "injected")? > 0, "{ended}");
        transfer
            .join()
            .map_err(|_| anyhow!("the sender panicked"))?
            .context("the transfer has failed")
    })?;
    ensure!(
        total == (SIZE + MIB).to_string(),
        "the sink has read {total} of {}",
        SIZE + MIB
    );
    Ok(())
}

fn slows() -> Result<()> {
    const SIZE: usize = 32 * MIB;
    let (sink, bystander) = (
        TcpSink::start("small-window", 9871)?,
        TcpSink::start("small-window-bystander", 9872)?,
    );
    let time = |sink: &TcpSink, bytes: usize| -> Result<f64> {
        let begun = Instant::now();
        ensure!(
            sink.takes(bytes, Duration::from_secs(50))?,
            "it did not get everything"
        );
        Ok(bytes as f64 / MIB as f64 / begun.elapsed().as_secs_f64())
    };
    let free = time(&sink, SIZE)?;
    let id = inject(&sink.unit(), "4KiB", "10m")?;
    // Loopback's packets are larger than such a window: the sender waits for a timer each time. More than 64 KiB, which the handshake
    // may have promised already: its window is left alone.
    let slowed = time(&sink, MIB / 8)?;
    let other = time(&bystander, SIZE)?;
    let ended = lab::clear(id)?;
    let again = time(&sink, SIZE)?;
    figures::note(format!(
        "MiB/s: {free:.0} freely, {slowed:.3} with a window of 4 KiB, {other:.0} to a bystander, {again:.0} afterwards"
    ));
    ensure!(lab::count(&ended, "injected")? > 0, "{ended}");
    // Beside what is slowed, not beside each other: a free transfer takes so little time that one stall of this machine halves its rate.
    ensure!(
        [free, other, again]
            .iter()
            .all(|rate| slowed * 20.0 < *rate),
        "{slowed} MiB/s is not slow against {free} before, {other} to a bystander and {again} afterwards"
    );
    Ok(())
}

fn every_way() -> Result<()> {
    let sink = TcpSink::start("window-ends", 9873)?;
    let unit = sink.unit();
    ends::in_every_way(
        "slow-receiver",
        ends::kernel_held(),
        |held| inject(&unit, "0", held),
        || Ok(!sink.takes(MIB, Duration::from_millis(150))?),
    )
}
