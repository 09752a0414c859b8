//! `packet-loss` of what a unit sends: by share, by number and in bursts, counted by its client and by the network stack.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    agents::UdpEcho, command, ends, figures, lab, netstat, statistics::interval_99, story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "packet_loss_out::of_5000_answers_20_percent_vanish_and_a_bystander_loses_none",
            share,
        ),
        test("packet_loss_out::every_after_and_max_are_exact", by_number),
        test("packet_loss_out::bursts_are_as_long_as_asked", bursts),
        test(
            "packet_loss_out::syn_only_loses_knocks_and_nothing_else",
            syn_only,
        ),
        test("packet_loss_out::it_ends_in_every_way", every_way),
    ]
}

/// Loses some of the echo's answers to `count` datagrams; those that came back, and how the fault ended.
fn lose(echo: &UdpEcho, count: u32, more: &[&str]) -> Result<(BTreeSet<u32>, Value)> {
    let unit = echo.unit();
    let words = [
        "packet-loss",
        "--unit",
        &unit,
        "--direction",
        "out",
        "--protocol",
        "udp",
        "--for",
        "10m",
    ];
    let id = lab::inject(&[&words[..], more].concat())?;
    let back = echo.exchange(count, 64)?;
    Ok((back, lab::clear(id)?))
}

fn share() -> Result<()> {
    const COUNT: u32 = 5_000;
    let (echo, bystander) = (
        UdpEcho::start("loss-out", 9853)?,
        UdpEcho::start("loss-out-bystander", 9854)?,
    );
    let (lost_before, failed_before) = (netstat::udp_lost()?, netstat::counter("UdpSndbufErrors")?);
    let (back, ended) = lose(&echo, COUNT, &["--probability", "20%", "--seed", "7"])?;
    let lost = netstat::udp_lost()? - lost_before;
    // A wire's loss: the sender is told nothing.
    ensure!(
        netstat::counter("UdpSndbufErrors")? == failed_before,
        "sends have failed"
    );
    let (again, _) = lose(&bystander, COUNT, &["--probability", "20%", "--seed", "7"])?;
    let missed = u64::from(COUNT) - back.len() as u64;
    let injected = lab::count(&ended, "injected")?;
    figures::note(format!(
        "of {COUNT} answers {injected} were dropped, the client misses {missed}, nstat counts {lost}"
    ));
    ensure!(
        lab::count(&ended, "matched")? == u64::from(COUNT),
        "{ended}"
    );
    ensure!(
        injected == missed && lost == i64::try_from(missed)?,
        "the kernel dropped {injected}, the client misses {missed}, nstat counts {lost}"
    );
    let interval = interval_99(u64::from(COUNT), 0.2);
    ensure!(
        interval.contains(&missed),
        "{missed} is not in {interval:?}"
    );
    ensure!(again == back, "the same seed lost others in another unit");

    let id = lab::inject(&["packet-loss", "--unit", &echo.unit(), "--for", "10m"])?;
    let others = bystander.exchange(500, 64)?;
    lab::clear(id)?;
    ensure!(others.len() == 500, "the bystander lost answers");
    ensure!(
        echo.exchange(500, 64)?.len() == 500,
        "answers are lost after the end"
    );
    Ok(())
}

fn by_number() -> Result<()> {
    let echo = UdpEcho::start("loss-number", 9855)?;
    let (back, ended) = lose(&echo, 500, &["--every", "5"])?;
    let lost: Vec<u32> = (0..500).filter(|number| !back.contains(number)).collect();
    ensure!(lost.len() == 100, "{} lost: {ended}", lost.len());
    ensure!(
        lost.windows(2).all(|pair| pair[1] - pair[0] == 5),
        "not every fifth: {lost:?}"
    );
    let (back, ended) = lose(&echo, 500, &["--after", "100", "--max", "50"])?;
    let lost: Vec<u32> = (0..500).filter(|number| !back.contains(number)).collect();
    ensure!(
        lost == (100..150).collect::<Vec<_>>(),
        "not those from 100 on: {lost:?}"
    );
    ensure!(
        lab::count(&ended, "injected")? == 50 && lab::count(&ended, "matched")? == 500,
        "{ended}"
    );
    Ok(())
}

fn bursts() -> Result<()> {
    const COUNT: u32 = 20_000;
    let echo = UdpEcho::start("loss-bursts", 9856)?;
    let (back, ended) = lose(&echo, COUNT, &["--burst", "2%,25%", "--seed", "11"])?;
    let missed = u64::from(COUNT) - back.len() as u64;
    ensure!(lab::count(&ended, "injected")? == missed, "{ended}");
    let (mut runs, mut last_lost) = (0_u64, false);
    for number in 0..COUNT {
        let lost = !back.contains(&number);
        runs += u64::from(lost && !last_lost);
        last_lost = lost;
    }
    ensure!(runs > 0, "nothing was lost");
    let mean = missed as f64 / runs as f64;
    let share = missed as f64 / f64::from(COUNT);
    figures::note(format!(
        "{missed} of {COUNT} lost in {runs} bursts of {mean:.2} on average"
    ));
    // Gilbert-Elliott: a burst lasts 1/r = 4 packets, and p/(p+r) = 7.4 % are lost. About 370 bursts, whose length has a
    // standard deviation of sqrt(1-r)/r = 3.5: the mean's is 0.18, and the share's 0.5 %.
    ensure!((3.4..=4.6).contains(&mean), "bursts of {mean} on average");
    ensure!((0.058..=0.090).contains(&share), "{share} are lost");
    Ok(())
}

fn syn_only() -> Result<()> {
    let mut connection = crate::http::Connection::open(8101)?;
    let id = lab::inject(&[
        "packet-loss",
        "--unit",
        lab::API_1,
        "--port",
        "8101",
        "--syn-only",
        "--for",
        "10m",
    ])?;
    let status = connection.request("GET", "/products?limit=1", "")?;
    ensure!(status == 200, "an open connection was answered {status}");
    let url = "http://127.0.0.1:8101/products?limit=1";
    command::run(&["curl", "--silent", "--max-time", "1.5", url])?.expect(28)?;
    let ended = lab::clear(id)?;
    // The first SYN, and one or two that were sent again in 1.5 s.
    let injected = lab::count(&ended, "injected")?;
    ensure!(
        (2..=3).contains(&injected) && lab::count(&ended, "matched")? == injected,
        "{ended}"
    );
    crate::http::curl(&[url])?.expect(200)?;
    Ok(())
}

fn every_way() -> Result<()> {
    let echo = UdpEcho::start("loss-ends", 9857)?;
    let unit = echo.unit();
    ends::in_every_way(
        "packet-loss out",
        ends::kernel_held(),
        |held| {
            let words = ["packet-loss", "--unit", &unit, "--direction", "out"];
            lab::inject(&[&words[..], &["--for", held]].concat())
        },
        || Ok(!echo.answers_within(Duration::from_millis(30))?),
    )
}
