//! `observastack-collector` on a disk that is full: the oldest makes room, and where nothing helps it says so and comes back.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::{
    collector::TraceId,
    command, figures,
    http::{curl, curl_sending},
    journal,
    lab::{self, COLLECTOR},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![test(
        "collector::a_full_disk_costs_the_oldest_is_told_and_is_over_when_there_is_room",
        full,
    )]
}

/// A disk of its own, as small as one can be that has room for what the collector holds free.
const DISK: &str = "/run/observastack-e2e-disk";
const SIZE: &str = "size=128m,mode=0777";
/// Spans in one request, about 2 MiB of them.
const SPANS: usize = 2_000;

/// The small disk, while the collector has its store there.
struct Disk;

impl Disk {
    fn mount() -> Result<Self> {
        fs::create_dir_all(DISK)?;
        command::output(&["mount", "-t", "tmpfs", "-o", SIZE, "tmpfs", DISK])?;
        let disk = Self;
        systemd::drop_in(
            COLLECTOR,
            &format!(
                "[Service]\nReadWritePaths={DISK}\nEnvironment=OBSERVASTACK_STORE_DIR={DISK}\n"
            ),
        )?;
        systemd::restart(COLLECTOR)?;
        Ok(disk)
    }

    /// Somebody else's file, which takes all that is left.
    fn fill() -> Result<()> {
        let ran = command::run(&["dd", "if=/dev/zero", &format!("of={DISK}/theirs"), "bs=64k"])?;
        ran.expect(1)?;
        ran.says(&["No space left on device"])
    }

    fn empty() -> Result<()> {
        fs::remove_file(format!("{DISK}/theirs")).context("nothing was filled")
    }

    /// The collector has its own disk again.
    fn unmount(&self) -> Result<()> {
        systemd::stop(COLLECTOR)?;
        systemd::remove_drop_ins()?;
        systemd::start(COLLECTOR)?;
        command::output(&["umount", DISK])?;
        fs::remove_dir(DISK)?;
        Ok(())
    }
}

/// A counter of the collector's, over all its labels that have these words.
fn counted(name: &str, labels: &[&str]) -> Result<f64> {
    let text = curl(&["http://127.0.0.1:8304/metrics"])?.body;
    let name = format!("observastack_collector_{name}");
    Ok(lab::metric(&text, &name, labels).unwrap_or_default())
}

/// Spans that compress badly, and a little one in a trace of its own; whether they were accepted.
fn send(spans: usize, trace: &TraceId) -> Result<bool> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let filler = "a filler of some length, ".repeat(40);
    let spans: Vec<_> = (0..spans)
        .map(|number| {
            json!({
                "traceId": trace.0, "spanId": format!("{:016x}", number + 1), "name": "filler", "kind": 1,
                "startTimeUnixNano": now_ns.to_string(), "endTimeUnixNano": (now_ns + 1_000).to_string(),
                "attributes": [{"key": "filler", "value": {"stringValue": filler}}]
            })
        })
        .collect();
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "filler"}}]},
        "scopeSpans": [{"spans": spans}]
    }]});
    let answer = curl_sending(
        &[
            "--header",
            "content-type: application/json",
            "--data-binary",
            "@-",
            "http://127.0.0.1:4318/v1/traces",
        ],
        &body.to_string(),
    )?;
    match answer.status {
        200 => Ok(true),
        429 | 503 => Ok(false),
        status => bail!("answered {status}: {}", answer.body),
    }
}

/// Sends until it is accepted.
fn send_surely(spans: usize, trace: &TraceId) -> Result<()> {
    wait::until_true(wait::SOON, "spans are accepted", || send(spans, trace))
}

fn full() -> Result<()> {
    let disk = Disk::mount()?;
    let told = rounds();
    let restored = disk.unmount();
    told?;
    restored
}

fn rounds() -> Result<()> {
    // More than fits: the oldest goes, and nothing that comes is lost.
    let first = TraceId::new()?;
    send_surely(1, &first)?;
    wait::until_true(wait::SOON, "the first span is stored", || {
        Ok(!first.spans()?.is_empty())
    })?;
    for _ in 0..60 {
        send_surely(SPANS, &TraceId::new()?)?;
    }
    wait::until_true(wait::SOON, "the oldest went for the disk", || {
        Ok(counted("evicted_items_total", &["traces", "disk"])? > 0.0 && first.spans()?.is_empty())
    })?;
    // Metrics are never stored, and counted as dropped for that.
    let dropped = counted("dropped_items_total", &["traces"])?;
    ensure!(dropped == 0.0, "{dropped} items were dropped");

    // Twice, for what helps once must be there again.
    for round in 1..=2 {
        let mark = journal::mark()?;
        Disk::fill()?;
        let (mut accepted, last) = (0, TraceId::new()?);
        for _ in 0..10 {
            accepted += u64::from(send(SPANS, &last)?);
        }
        mark.wait_for(COLLECTOR, "a warning", |record| {
            let text = journal::all_text(record);
            text.contains("disk") && record["PRIORITY"] == "4"
        })?;
        // It runs, and answers.
        ensure!(
            curl(&["http://127.0.0.1:4320/api/services"])?.status == 200,
            "no answer"
        );
        Disk::empty()?;
        let trace = TraceId::new()?;
        send_surely(1, &trace)?;
        wait::until_true(wait::SOON, "what comes is stored again", || {
            Ok(trace.spans()?.len() == 1)
        })?;
        let (stored, dropped) = (
            counted("stored_items_total", &["traces"])?,
            counted("dropped_items_total", &["traces"])?,
        );
        let accepted_all = counted("accepted_items_total", &["traces"])?;
        ensure!(
            accepted_all == stored + dropped,
            "{accepted_all} were accepted, {stored} stored and {dropped} dropped"
        );
        figures::note(format!(
            "round {round}: {accepted} requests were accepted on a full disk; {dropped} spans dropped so far, {:.0} evicted",
            counted("evicted_items_total", &["traces", "disk"])?
        ));
    }
    Ok(())
}
