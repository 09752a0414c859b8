//! A service that is restarted under load lets nobody down.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::Trial;

use crate::{
    http::{Connection, Outcomes},
    lab::{self, API_1, GATEWAY},
    story::test,
    systemd, wait,
};

const CLIENTS: usize = 8;

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "drain::an_api_instance_restarts_under_load_without_a_failed_request",
            restart_api,
        ),
        test(
            "drain::requests_in_flight_are_finished_when_the_gateway_stops",
            restart_gateway,
        ),
    ]
}

fn restart_api() -> Result<()> {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let outcomes = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| browse(&stop, &done)))
            .collect();
        let driven = (|| {
            for round in 0..3 {
                let before = done.load(Ordering::Relaxed);
                let more = |count: u64| {
                    wait::until_true(wait::SOON, "requests are served", || {
                        Ok(done.load(Ordering::Relaxed) >= before + count)
                    })
                };
                more(200)?;
                systemd::restart(API_1)?;
                more(600)?;
                ensure!(
                    systemd::is_active(API_1)?,
                    "round {round}: {API_1} is not active"
                );
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let mut all = Outcomes::new();
        for client in clients {
            for (outcome, count) in client.join().map_err(|_| anyhow!("a client panicked"))?? {
                *all.entry(outcome).or_default() += count;
            }
        }
        driven.map(|()| all)
    })?;
    ensure!(outcomes.keys().eq(["200"]), "requests failed: {outcomes:?}");
    Ok(())
}

/// Reads products through the gateway on one kept-alive connection until told to stop.
fn browse(stop: &AtomicBool, done: &AtomicU64) -> Result<Outcomes> {
    let mut connection = Connection::open(8000)?;
    let mut outcomes = Outcomes::new();
    while !stop.load(Ordering::Relaxed) {
        let outcome = match connection.request("GET", "/products/P00023", "") {
            Ok(status) => status.to_string(),
            Err(error) => {
                connection = Connection::open(8000)?;
                format!("{error:#}")
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(outcomes)
}

fn restart_gateway() -> Result<()> {
    // A bad report over many orders takes a while: it is in flight when the stop comes.
    let path = "/report/sales?format=json&algorithm=bad";
    thread::scope(|scope| {
        let report = scope.spawn(|| Connection::open(8000)?.request("GET", path, ""));
        wait::until_true(wait::SOON, "the report is being computed", || {
            let text = crate::http::curl(&["http://127.0.0.1:8001/metrics"])?.body;
            let active = lab::metric(&text, "http_server_active_requests", &[]);
            Ok(active >= Some(1.0) || report.is_finished())
        })?;
        ensure!(
            !report.is_finished(),
            "the report was too fast to be in flight"
        );
        systemd::restart(GATEWAY)?;
        let status = report
            .join()
            .map_err(|_| anyhow!("the client panicked"))??;
        ensure!(status == 200, "answered {status}");
        Ok(())
    })
}
