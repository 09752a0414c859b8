//! What the journal and the metrics tell about faults: who, what, where, until when, and what came of it.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    agents::{ConnectProbe, UdpEcho},
    http::curl,
    journal,
    journal::Mark,
    lab::{self, INJECTOR},
    story::test,
    wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "audit::inject_clear_expiry_refusal_and_panic_each_leave_a_line",
            lines,
        ),
        test("audit::metrics_agree_with_the_list_of_faults", metrics),
    ]
}

/// The audit lines of a kind about a fault, or all of the kind.
fn audit(mark: &Mark, kind: &str, fault: Option<u64>) -> Result<Value> {
    mark.wait_for(INJECTOR, &format!("AUDIT={kind}"), |record| {
        record["AUDIT"] == kind
            && fault.is_none_or(|fault| record["FAULT"] == fault.to_string().as_str())
    })
}

fn field(record: &Value, name: &str) -> Result<String> {
    let text = record[name].as_str();
    text.map(str::to_owned)
        .with_context(|| format!("no field {name} in {record}"))
}

/// An error unless the record's counts are those of the fault.
fn counts_agree(record: &Value, fault: &Value) -> Result<()> {
    for name in ["matched", "injected", "skipped"] {
        let told = field(record, &name.to_uppercase())?;
        ensure!(
            told == lab::count(fault, name)?.to_string(),
            "{name} is {told} in the journal: {fault}"
        );
    }
    Ok(())
}

fn lines() -> Result<()> {
    let probe = ConnectProbe::start("audit", 9894)?;
    let unit = probe.unit();
    let mark = journal::mark()?;
    let id = lab::inject(&probe.fault(&unit, "10m"))?;
    probe.wait_for(true, 50)?;
    let injected = audit(&mark, "inject", Some(id))?;
    for (name, value) in [
        ("UID", "0"),
        ("UNIT", unit.as_str()),
        ("KIND", "connect-error"),
        ("FOR_MS", "600000"),
    ] {
        let told = field(&injected, name)?;
        ensure!(told == value, "{name} is {told} instead of {value}");
    }
    let fault = lab::fault(id)?;
    let until: u64 = field(&injected, "UNTIL_UNIX_MS")?.parse()?;
    ensure!(
        Some(until) == fault["since_unix_ms"].as_u64().map(|since| since + 600_000),
        "until {until}: {fault}"
    );
    let cleared = lab::clear(id)?;
    ensure!(lab::count(&cleared, "injected")? > 0, "{cleared}");
    counts_agree(&audit(&mark, "clear", Some(id))?, &cleared)?;
    let ended = audit(&mark, "end", Some(id))?;
    counts_agree(&ended, &cleared)?;
    ensure!(field(&ended, "UNIT")? == unit, "{ended}");

    // Expiry, with its counts.
    let id = lab::inject(&probe.fault(&unit, "300ms"))?;
    let expired = wait::until(wait::SOON, "it has expired", || {
        let fault = lab::fault(id)?;
        Ok((fault["state"] == "expired").then_some(fault))
    })?;
    let ended = audit(&mark, "end", Some(id))?;
    counts_agree(&ended, &expired)?;
    ensure!(
        field(&ended, "STATE")?.to_lowercase().contains("expired"),
        "{ended}"
    );

    // A refusal by the injector, not only by the command line.
    let words = ["inject", "blackhole", "--unit", "observastack-nothing"];
    lab::ctl_ran(&[&words[..], &["--for", "10s"]].concat())?.expect(2)?;
    let refused = audit(&mark, "refuse", None)?;
    ensure!(
        field(&refused, "UID")? == "0"
            && field(&refused, "ERROR")?.contains("observastack-nothing"),
        "{refused}"
    );

    let id = lab::inject(&probe.fault(&unit, "10m"))?;
    lab::ctl(&["panic"])?;
    let panicked = audit(&mark, "panic", None)?;
    ensure!(
        field(&panicked, "UID")? == "0" && field(&panicked, "FAULTS_ENDED")? == "1",
        "{panicked}"
    );
    let ended = audit(&mark, "end", Some(id))?;
    counts_agree(&ended, &lab::fault(id)?)?;
    lab::ctl(&["panic", "--lift"])?;
    audit(&mark, "panic-lifted", None).map(drop)
}

/// A sample of the injector's metrics; 0 where there is no such series.
fn sample(text: &str, name: &str, fault: &str, unit: &str) -> u64 {
    let labels = [format!("fault=\"{fault}\""), format!("unit=\"{unit}\"")];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    lab::metric(text, name, &labels).unwrap_or(0.0) as u64
}

fn metrics() -> Result<()> {
    const NAMES: [&str; 3] = ["matched", "injected", "skipped"];
    let (one, two) = (
        UdpEcho::start("metrics-1", 9895)?,
        UdpEcho::start("metrics-2", 9896)?,
    );
    let (unit_one, unit_two) = (one.unit(), two.unit());
    let scrape = || Ok::<_, anyhow::Error>(curl(&["http://127.0.0.1:8301/metrics"])?.body);
    let all = |kind: &str, unit: &str| -> Result<[u64; 3]> {
        let text = scrape()?;
        Ok(NAMES.map(|name| {
            sample(
                &text,
                &format!("observastack_fault_{name}_total"),
                kind,
                unit,
            )
        }))
    };
    let loss = |unit: &str| {
        let words = ["packet-loss", "--unit", unit, "--direction", "out"];
        lab::inject(&[&words[..], &["--every", "3", "--for", "10m"]].concat())
    };
    let before = all("packet-loss", &unit_one)?;
    let (first, second) = (loss(&unit_one)?, loss(&unit_one)?);
    let other = lab::inject(&["blackhole", "--unit", &unit_two, "--for", "10m"])?;
    let back = one.exchange(300, 64)?;
    two.answers_within(std::time::Duration::from_millis(20))?;
    let active = |kind: &str, unit: &str| {
        Ok::<_, anyhow::Error>(sample(&scrape()?, "observastack_fault_active", kind, unit))
    };
    ensure!(
        active("packet-loss", &unit_one)? == 2 && active("blackhole", &unit_two)? == 1,
        "{}",
        scrape()?
    );
    let sum = |ids: &[u64]| -> Result<[u64; 3]> {
        let mut sum = [0; 3];
        for id in ids {
            let fault = lab::fault(*id)?;
            for (sum, name) in sum.iter_mut().zip(NAMES) {
                *sum += lab::count(&fault, name)?;
            }
        }
        Ok(sum)
    };
    let agree = |kind: &str, unit: &str, ids: &[u64], before: [u64; 3]| -> Result<()> {
        let (told, listed) = (all(kind, unit)?, sum(ids)?);
        for index in 0..3 {
            ensure!(
                told[index] - before[index] == listed[index],
                "{kind} on {unit}: {} is {told:?} (was {before:?}), faults say {listed:?}",
                NAMES[index]
            );
        }
        Ok(())
    };
    agree("packet-loss", &unit_one, &[first, second], before)?;
    agree("blackhole", &unit_two, &[other], [0; 3])?;
    ensure!(
        300 - back.len() as u64 == sum(&[first, second])?[1],
        "the client misses {}",
        300 - back.len()
    );
    // Counters stay when faults end; the number of those that hold does not.
    lab::clear(first)?;
    lab::clear(second)?;
    agree("packet-loss", &unit_one, &[first, second], before)?;
    ensure!(
        active("packet-loss", &unit_one)? == 0 && active("blackhole", &unit_two)? == 1,
        "{}",
        scrape()?
    );
    let text = scrape()?;
    for name in NAMES {
        ensure!(
            text.contains(&format!("# TYPE observastack_fault_{name} counter")),
            "{name} is not described: {text}"
        );
    }
    Ok(())
}
