//! A fault belongs to its unit, not to the processes that the unit happens to have: restarts, stops and starts.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{ConnectProbe, UdpSink},
    command, http,
    lab::{self, API_1, INJECTOR, SUT_SLICE},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "life::a_restarted_unit_is_faulted_from_its_first_connect",
            restarted_connect,
        ),
        test(
            "life::a_restarted_unit_is_faulted_from_its_first_packet",
            restarted_packet,
        ),
        test(
            "life::a_fault_outlives_a_stop_of_the_whole_slice",
            slice_restart,
        ),
        test(
            "life::a_stopped_unit_can_be_faulted_before_it_starts",
            stopped_unit,
        ),
    ]
}

fn restarted_connect() -> Result<()> {
    let probe = ConnectProbe::start("again", 9827)?;
    let unit = probe.unit();
    lab::inject(&probe.fault(&unit, "10m"))?;
    probe.wait_for(true, 50)?;
    for _ in 0..5 {
        let old = lab::main_process(&unit)?;
        systemd::restart(&unit)?;
        ensure!(
            lab::main_process(&unit)? != old,
            "the unit was not restarted"
        );
        let seen = wait::until(wait::SOON, "the new process has connected", || {
            let seen = probe.seen()?;
            Ok((seen.faulted + seen.unfaulted >= 50).then_some(seen))
        })?;
        ensure!(
            seen.first_faulted && seen.unfaulted == 0,
            "{} connects came through: {seen:?}",
            seen.unfaulted
        );
    }
    Ok(())
}

fn restarted_packet() -> Result<()> {
    let sink = UdpSink::start("packets-again", 9828)?;
    let unit = sink.unit();
    let id = lab::inject(&["packet-loss", "--unit", &unit, "--for", "10m"])?;
    sink.send(10)?;
    for _ in 0..5 {
        // Datagrams all the while: the first that finds the new socket must be lost.
        thread::scope(|scope| {
            let restart = scope.spawn(|| systemd::restart(&unit));
            while !restart.is_finished() {
                sink.send_one(0)?;
            }
            restart
                .join()
                .map_err(|_| anyhow!("systemctl's thread panicked"))?
        })?;
        wait::until_true(wait::SOON, "the new sink answers", || {
            sink.send_one(0)?;
            sink.received().map(|_| true)
        })?;
        let matched = lab::count(&lab::fault(id)?, "matched")?;
        sink.send(20)?;
        let received = sink.received()?.numbers.len();
        ensure!(received == 0, "{received} datagrams came through");
        let now = lab::count(&lab::fault(id)?, "matched")?;
        ensure!(
            now == matched + 20,
            "of 20 datagrams to the new process {} were matched",
            now - matched
        );
    }
    Ok(())
}

fn slice_restart() -> Result<()> {
    let id = lab::inject(&[
        "connect-error",
        "--unit",
        API_1,
        "--port",
        "8200",
        "--errno",
        "EHOSTUNREACH",
        "--for",
        "10m",
    ])?;
    systemd::stop(SUT_SLICE)?;
    ensure!(
        !systemd::is_active(API_1)?,
        "{API_1} runs without its slice"
    );
    ensure!(
        systemd::is_active(INJECTOR)?,
        "the injector went down with the slice"
    );
    command::output(&[&["systemctl", "start"], &lab::UNITS[..]].concat())?;
    lab::wait_healthy()?;
    let order = || http::post("http://127.0.0.1:8101/orders", &lab::order("P00043", 1));
    let refused = order()?.expect(503)?;
    ensure!(
        refused["error"]["code"] == "inventory_unreachable",
        "{refused}"
    );
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? >= 1, "{ended}");
    order()?.expect(201)?;
    Ok(())
}

fn stopped_unit() -> Result<()> {
    systemd::stop(API_1)?;
    let id = lab::inject(&[
        "connect-error",
        "--unit",
        API_1,
        "--port",
        "8200",
        "--errno",
        "EHOSTUNREACH",
        "--for",
        "10m",
    ])?;
    systemd::start(API_1)?;
    let order = || http::post("http://127.0.0.1:8101/orders", &lab::order("P00047", 1));
    order()?.expect(503)?;
    lab::clear(id)?;
    order()?.expect(201)?;
    Ok(())
}
