//! `mtu-blackhole`: small packets pass, large ones vanish, and nobody is told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::UdpEcho,
    command, ends,
    http::curl,
    lab::{self, API_1},
    netstat,
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "mtu_blackhole::a_small_answer_comes_and_a_large_one_stalls",
            answers,
        ),
        test(
            "mtu_blackhole::datagrams_above_the_size_vanish_and_only_they_are_counted",
            datagrams,
        ),
        test("mtu_blackhole::it_ends_in_every_way", every_way),
    ]
}

fn answers() -> Result<()> {
    let url = |port: u16, limit: u16| format!("http://127.0.0.1:{port}/products?limit={limit}");
    let large = curl(&[&url(8101, 50)])?;
    ensure!(
        large.status == 200 && large.body.len() > 3_000,
        "the large answer has {} bytes",
        large.body.len()
    );
    let small = curl(&[&url(8101, 1)])?;
    ensure!(
        small.head.len() + small.body.len() < 1_200,
        "the small answer has {} bytes",
        small.head.len() + small.body.len()
    );
    let id = lab::inject(&[
        "mtu-blackhole",
        "--unit",
        API_1,
        "--mtu",
        "1400",
        "--port",
        "8101",
        "--for",
        "10m",
    ])?;
    curl(&[&url(8101, 1)])?.expect(200)?;
    let before = netstat::counter("TcpRetransSegs")?;
    let stalled = command::run(&[
        "curl",
        "--silent",
        "--show-error",
        "--output",
        "/dev/null",
        "--write-out",
        "%{time_connect} %{size_download}",
        "--max-time",
        "1.5",
        &url(8101, 50),
    ])?;
    stalled.expect(28)?;
    let (connected, received) = stalled
        .stdout
        .split_once(' ')
        .with_context(|| stalled.stdout.clone())?;
    // It is no question of reaching the server.
    ensure!(
        connected.parse::<f64>()? > 0.0 && connected.parse::<f64>()? < 1.0,
        "connected after {connected} s"
    );
    ensure!(received == "0", "{received} bytes came");
    ensure!(
        netstat::counter("TcpRetransSegs")? > before,
        "nobody sent again"
    );
    curl(&[&url(8102, 50)])?.expect(200)?;
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? >= 2, "{ended}");
    curl(&[&url(8101, 50)])?.expect(200)?;
    Ok(())
}

fn datagrams() -> Result<()> {
    let echo = UdpEcho::start("mtu", 9858)?;
    let unit = echo.unit();
    for (direction, size, lost) in [
        ("out", 1_372, false),
        ("out", 1_373, true),
        ("out", 4_000, true),
    ] {
        let id = lab::inject(&[
            "mtu-blackhole",
            "--unit",
            &unit,
            "--mtu",
            "1400",
            "--direction",
            direction,
            "--for",
            "10m",
        ])?;
        let back = echo.exchange(100, size)?;
        let ended = lab::clear(id)?;
        // With 28 bytes of headers, 1372 is the largest that fits.
        let expected = if lost { 0 } else { 100 };
        ensure!(
            back.len() == expected,
            "{} of 100 datagrams of {size} bytes came back",
            back.len()
        );
        ensure!(
            lab::count(&ended, "injected")? == 100 - expected as u64,
            "{size} bytes: {ended}"
        );
    }
    // Inbound the unit never sees them.
    let before = echo.answered()?;
    let id = lab::inject(&[
        "mtu-blackhole",
        "--unit",
        &unit,
        "--mtu",
        "1400",
        "--direction",
        "in",
        "--for",
        "10m",
    ])?;
    for number in 0..50 {
        echo.send(number, 2_000)?;
    }
    let small = echo.exchange(50, 64)?;
    let ended = lab::clear(id)?;
    ensure!(small.len() == 50, "{} small ones came back", small.len());
    ensure!(
        echo.answered()? == before + 50 && lab::count(&ended, "injected")? == 50,
        "{ended}"
    );
    Ok(())
}

fn every_way() -> Result<()> {
    let echo = UdpEcho::start("mtu-ends", 9859)?;
    let unit = echo.unit();
    ends::in_every_way(
        "mtu-blackhole",
        ends::kernel_held(),
        |held| {
            lab::inject(&[
                "mtu-blackhole",
                "--unit",
                &unit,
                "--mtu",
                "68",
                "--for",
                held,
            ])
        },
        || Ok(!echo.answers_within_sized(Duration::from_millis(30), 500)?),
    )
}
