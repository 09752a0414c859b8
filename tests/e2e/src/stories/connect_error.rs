//! `connect-error`: what the client sees, what the service logs, what strace sees and what the kernel counts.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::ConnectProbe,
    command, figures,
    http::{curl, post},
    journal,
    lab::{self, API_1, API_2, GATEWAY, SHOP},
    story::test,
    wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "connect_error::orders_at_the_faulted_instance_fail_with_the_errno_in_its_journal",
            orders_fail,
        ),
        test(
            "connect_error::the_gateway_hides_an_upstream_it_cannot_connect_to",
            gateway_hides_it,
        ),
        test(
            "connect_error::strace_sees_as_many_failures_as_the_kernel_counts",
            strace_agrees,
        ),
        test(
            "connect_error::half_the_connects_fail_and_a_bystander_sees_none",
            half,
        ),
        test(
            "connect_error::verbose_streams_the_rules_decisions",
            verbose,
        ),
    ]
}

/// Makes api@1's next call open a new connection, and only one for each call.
fn fresh_connections() -> Result<()> {
    // A new limit of the connect time comes with a new pool.
    lab::configure(
        "api@1",
        &["inventory.connect_timeout_ms=251", "inventory.retries=0"],
    )
    .map(drop)
}

fn orders_fail() -> Result<()> {
    fresh_connections()?;
    let stock = "SELECT reserved FROM stock.items WHERE sku = 'P00031'";
    let before = lab::sql(stock)?;
    let mark = journal::mark()?;
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
    for _ in 0..10 {
        let refused =
            post("http://127.0.0.1:8101/orders", &lab::order("P00031", 1))?.expect(503)?;
        ensure!(
            refused["error"]["code"] == "inventory_unreachable",
            "{refused}"
        );
    }
    let fault = lab::fault(id)?;
    ensure!(
        lab::count(&fault, "matched")? == 10 && lab::count(&fault, "injected")? == 10,
        "10 orders failed, but {fault}"
    );
    // The journal's own count is the same.
    wait::until_true(wait::SOON, "ten failures are logged", || {
        let records = mark.records(API_1)?;
        let failed = records.iter().filter(|record| {
            let text = journal::all_text(record);
            text.contains("os error 113") && text.contains("inventory")
        });
        Ok(failed.count() == 10)
    })?;
    ensure!(
        lab::sql(stock)? == before,
        "stock is held for orders that were not placed"
    );

    // The neighbour has no part in it. Through the gateway an order is not tried again, because it may have been placed.
    post("http://127.0.0.1:8102/orders", &lab::order("P00031", 1))?.expect(201)?;
    let statuses: Vec<u16> = (0..10)
        .map(|_| Ok(post(&format!("{SHOP}/orders"), &lab::order("P00031", 1))?.status))
        .collect::<Result<_>>()?;
    ensure!(
        statuses.contains(&503) && statuses.contains(&201),
        "through the gateway: {statuses:?}"
    );
    lab::clear(id)?;
    post("http://127.0.0.1:8101/orders", &lab::order("P00031", 1))?.expect(201)?;
    Ok(())
}

fn gateway_hides_it() -> Result<()> {
    // No kept connections, no health checks, no avoiding: every request meets the fault or not, by its turn alone.
    lab::configure(
        "gateway",
        &[
            "keepalive.upstream_idle_ms=0",
            "health_check.enabled=false",
            "health_check.avoid_after_connect_failure_ms=0",
        ],
    )?;
    let mark = journal::mark()?;
    let id = lab::inject(&[
        "connect-error",
        "--unit",
        GATEWAY,
        "--port",
        "8101",
        "--errno",
        "ECONNREFUSED",
        "--for",
        "10m",
    ])?;
    let asked = 20;
    for _ in 0..asked / 2 {
        curl(&[&format!("{SHOP}/products?limit=1")])?.expect(200)?;
        // A connection that was never made has placed no order: this is safe to try again.
        post(&format!("{SHOP}/orders"), &lab::order("P00037", 1))?.expect(201)?;
    }
    let ended = lab::clear(id)?;
    let injected = lab::count(&ended, "injected")?;
    ensure!(injected > 0 && injected <= asked, "{ended}");
    wait::until_true(wait::SOON, "the gateway logs its second attempts", || {
        let records = mark.records(GATEWAY)?;
        let of_requests = || {
            records
                .iter()
                .filter(|record| record["HTTP_PATH"].is_string())
        };
        let twice = of_requests()
            .filter(|record| record["ATTEMPTS"] == "2" && record["UPSTREAM"] == "127.0.0.1:8102");
        Ok(of_requests().count() as u64 == asked && twice.count() as u64 == injected)
    })?;

    // Without retries the client sees it.
    lab::configure("gateway", &["retries.max_attempts=1"])?;
    let id = lab::inject(&[
        "connect-error",
        "--unit",
        GATEWAY,
        "--port",
        "8101",
        "--errno",
        "ECONNREFUSED",
        "--for",
        "10m",
    ])?;
    let statuses: Vec<u16> = (0..10)
        .map(|_| Ok(curl(&[&format!("{SHOP}/products?limit=1")])?.status))
        .collect::<Result<_>>()?;
    let failed = statuses
        .iter()
        .filter(|status| **status == 502 || **status == 503)
        .count();
    let injected = lab::count(&lab::clear(id)?, "injected")?;
    ensure!(
        failed as u64 == injected && failed > 0 && failed < 10,
        "{injected} injected, but {statuses:?}"
    );
    Ok(())
}

/// strace on a process, started and attached; detached when dropped.
struct Strace {
    child: Child,
    output: String,
}

impl Strace {
    fn attach(unit: &str) -> Result<Self> {
        let output = format!("{}/strace.txt", crate::agents::DIRECTORY);
        let process = lab::main_process(unit)?.as_raw_nonzero().to_string();
        let child = Command::new("strace")
            .args(["-f", "-e", "trace=connect", "-o", &output, "-p", &process])
            .stderr(Stdio::null())
            .spawn()?;
        let tracer = child.id().to_string();
        let strace = Self { child, output };
        wait::until_true(wait::SOON, "strace is attached to every thread", || {
            let mut threads = std::fs::read_dir(format!("/proc/{process}/task"))?;
            threads.try_fold(true, |all, thread| {
                let status = std::fs::read_to_string(thread?.path().join("status"))?;
                let traced = status
                    .lines()
                    .any(|line| line.split_whitespace().eq(["TracerPid:", &tracer]));
                Ok(all && traced)
            })
        })?;
        Ok(strace)
    }

    /// Detaches, and gives what was traced.
    fn finish(mut self) -> Result<String> {
        command::output(&["kill", "-INT", &self.child.id().to_string()])?;
        self.child.wait()?;
        std::fs::read_to_string(&self.output).context("strace has written nothing")
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Only left where `finish` was not reached; strace lets go of its process when it is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn strace_agrees() -> Result<()> {
    fresh_connections()?;
    let strace = Strace::attach(API_1)?;
    let fault = [
        "connect-error",
        "--unit",
        API_1,
        "--port",
        "8200",
        "--errno",
        "ENETUNREACH",
        "--probability",
        "50%",
        "--seed",
        "3",
    ];
    let id = lab::inject(&[&fault[..], &["--for", "10m"]].concat())?;
    let mut failed = 0;
    for _ in 0..40 {
        // A call that connects leaves a kept connection behind, which the next would use: a fresh pool again.
        fresh_connections_again()?;
        match post("http://127.0.0.1:8101/orders", &lab::order("P00041", 1))?.status {
            201 => {}
            503 => failed += 1,
            status => bail!("answered {status}"),
        }
    }
    let ended = lab::clear(id)?;
    let traced = strace.finish()?;
    let to_inventory = || traced.lines().filter(|line| line.contains("htons(8200)"));
    // With -f a call may be split: `<unfinished ...>` has the address, `resumed` the outcome. A connect does not wait.
    let refused = to_inventory()
        .filter(|line| line.contains("= -1 ENETUNREACH"))
        .count() as u64;
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    figures::note(format!(
        "{matched} connects, {injected} faulted; strace: {} and {refused}; {failed} orders failed",
        to_inventory().count()
    ));
    ensure!(
        to_inventory().count() as u64 == matched && refused == injected,
        "{ended}, but strace has\n{traced}"
    );
    ensure!(
        failed == injected && failed > 5 && failed < 35,
        "{failed} of 40 orders failed, but {ended}"
    );
    Ok(())
}

fn fresh_connections_again() -> Result<()> {
    let now = lab::config("api@1")?["config"]["inventory"]["connect_timeout_ms"].as_u64();
    let next = if now == Some(251) { 252 } else { 251 };
    lab::configure("api@1", &[&format!("inventory.connect_timeout_ms={next}")]).map(drop)
}

fn half() -> Result<()> {
    let (probe, bystander) = (
        ConnectProbe::start("half", 9811)?,
        ConnectProbe::start("half-bystander", 9812)?,
    );
    let unit = probe.unit();
    let id = lab::inject(
        &[
            &probe.fault(&unit, "10m")[..],
            &["--probability", "50%", "--seed", "5"],
        ]
        .concat(),
    )?;
    wait::until_true(wait::SOON, "thousands of connects", || {
        Ok(probe.seen()?.faulted >= 2_500)
    })?;
    let ended = lab::clear(id)?;
    let seen = probe.wait_for(false, 100)?;
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    ensure!(
        seen.faulted == injected,
        "the kernel faulted {injected} connects, the client saw {}",
        seen.faulted
    );
    let interval = crate::statistics::interval_99(matched, 0.5);
    ensure!(
        interval.contains(&injected),
        "{injected} of {matched} is outside of {interval:?}"
    );
    let others = bystander.seen()?;
    ensure!(
        others.faulted == 0 && others.unfaulted > 1_000,
        "the bystander saw {others:?}"
    );
    // Nor do the lab's own units notice.
    ensure!(
        lab::ctl_ran(&["status"])?.code == 0,
        "the lab is not healthy"
    );
    for unit in [API_1, API_2] {
        lab::main_process(unit)?;
    }
    Ok(())
}

fn verbose() -> Result<()> {
    let probe = ConnectProbe::start("verbose", 9813)?;
    let unit = probe.unit();
    let fault = [
        &["inject"],
        &probe.fault(&unit, "1s")[..],
        &["--probability", "50%", "--verbose"],
    ]
    .concat();
    // It follows the rule to its end.
    let ran = lab::ctl_ran(&fault)?;
    ran.expect(0)?;
    let decisions: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("{\"fault\""))
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<_>>()?;
    // At most 200 a second, and the log itself is drained some 33 times a second.
    ensure!(
        (10..=220).contains(&decisions.len()),
        "{} decisions in a second: {}",
        decisions.len(),
        ran.stdout
    );
    for fate in [true, false] {
        ensure!(
            decisions
                .iter()
                .any(|decision| decision["faulted"] == fate && decision["event"] == "connect"),
            "no decision is {fate}"
        );
    }
    ensure!(
        ran.stdout.contains("\"expired\""),
        "it does not tell how it ended: {}",
        ran.stdout
    );
    // The same lines are in the journal, at debug level.
    let line = format!("fault {}: connect ", decisions[0]["fault"]);
    let journal = command::output(&[
        "journalctl",
        "--unit=observastack-injector",
        "--since=-60s",
        "--priority=7..7",
        "--output=cat",
        "--no-pager",
    ])?;
    ensure!(
        journal.contains(&line),
        "no line begins with {line:?} in the journal: {journal}"
    );
    Ok(())
}
