//! `observastack-prometheus`: every endpoint is scraped, every rule gives numbers under load, and what goes wrong is told.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    figures,
    http::curl,
    lab::{self, API_1, API_2},
    story::test,
    systemd, wait,
};

const API: &str = "http://127.0.0.1:9190/api/v1";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("prometheus::scrapes_every_endpoint_of_the_lab", targets),
        test(
            "prometheus::every_recorded_expression_gives_data_under_load",
            recorded,
        ),
        test(
            "prometheus::an_instance_that_is_stopped_is_down_and_comes_back",
            down,
        ),
        test(
            "prometheus::errors_spend_the_budget_and_page_within_minutes_and_the_fault_is_shown",
            burns,
        ),
    ]
}

/// What Prometheus's own API answers.
fn ask(path: &str) -> Result<Value> {
    let answer = curl(&[&format!("{API}/{path}")])?.expect(200)?;
    ensure!(answer["status"] == "success", "{answer}");
    Ok(answer["data"].clone())
}

/// The samples of an expression.
fn query(expression: &str) -> Result<Vec<Value>> {
    let answer = curl(&[
        "--get",
        "--data-urlencode",
        &format!("query={expression}"),
        &format!("{API}/query"),
    ])?
    .expect(200)?;
    let samples = answer["data"]["result"].as_array();
    Ok(samples.with_context(|| answer.to_string())?.clone())
}

/// The value of an expression with one sample.
fn value(expression: &str) -> Result<f64> {
    let samples = query(expression)?;
    ensure!(samples.len() == 1, "{expression} gives {samples:?}");
    let text = samples[0]["value"][1].as_str().context("no value")?;
    Ok(text.parse()?)
}

/// What is scraped, by its `instance`.
const SCRAPED: [&str; 10] = [
    "api@1",
    "api@2",
    "collector",
    "gateway",
    "injector",
    "inventory",
    "loadgen",
    "observer",
    "prometheus",
    "worker",
];

fn targets() -> Result<()> {
    let count = SCRAPED.len() as f64;
    wait::until_true(wait::SOON, "every target is up", || {
        Ok(value("count(up)")? == count && value("sum(up)")? == count)
    })?;
    let mut seen = BTreeSet::new();
    let active = ask("targets?state=active")?["activeTargets"].clone();
    for target in active.as_array().context("no targets")? {
        ensure!(
            target["lastError"] == "" && target["health"] == "up",
            "{target}"
        );
        seen.insert(target["labels"]["instance"].to_string());
    }
    let expected = SCRAPED.map(|name| format!("\"{name}\""));
    ensure!(seen.iter().eq(&expected), "{seen:?}");
    Ok(())
}

/// Load in the background while something is looked at.
fn under_load<T>(look: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // Some fail: that is a part of it. An odd number, so that each kind meets both API servers.
                let order = lab::order("P00002", 1);
                let _ = curl(&[&format!("{}/products/P00001", lab::SHOP)]);
                for _ in 0..2 {
                    let _ = crate::http::post(&format!("{}/orders", lab::SHOP), &order);
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let seen = look();
        stop.store(true, Ordering::Relaxed);
        seen
    })
}

fn recorded() -> Result<()> {
    let mut names = BTreeSet::new();
    for group in ask("rules?type=record")?["groups"]
        .as_array()
        .context("no groups")?
    {
        for rule in group["rules"].as_array().context("no rules")? {
            ensure!(rule["health"] != "err", "{rule}");
            names.insert(rule["name"].as_str().context("no name")?.to_owned());
        }
    }
    ensure!(names.len() > 30, "{names:?}");
    let long = Duration::from_secs(90);
    under_load(|| {
        let mut missing = Vec::new();
        let found = wait::until_true(long, "every recorded expression gives data", || {
            missing.clear();
            for name in &names {
                if query(name)?.is_empty() {
                    missing.push(name.clone());
                }
            }
            Ok(missing.is_empty())
        });
        found.with_context(|| format!("without data: {missing:?}"))
    })?;
    let rate = value("service:http_requests:rate1m{service=\"gateway\"}")?;
    let memory = value("instance:memory_bytes:sum{instance=\"prometheus\"}")?;
    figures::note(format!(
        "{} recorded expressions, {rate:.1} requests a second at the gateway; Prometheus holds {:.0} MiB",
        names.len(),
        memory / 1048576.0
    ));
    ensure!(rate > 0.0, "no traffic is seen");
    Ok(())
}

fn down() -> Result<()> {
    systemd::stop(API_2)?;
    wait::until_true(wait::SOON, "it is down", || {
        Ok(value("up{instance=\"api@2\"}")? == 0.0)
    })?;
    wait::until_true(wait::SOON, "somebody is paged", || {
        let firing = query("ALERTS{alertname=\"InstanceDown\",alertstate=\"firing\"}")?;
        Ok(firing.len() == 1 && firing[0]["metric"]["instance"] == "api@2")
    })?;
    systemd::start(API_2)?;
    wait::until_true(wait::SOON, "it is up, and nobody is paged", || {
        Ok(value("up{instance=\"api@2\"}")? == 1.0
            && query("ALERTS{alertname=\"InstanceDown\"}")?.is_empty())
    })
}

fn burns() -> Result<()> {
    let id = lab::inject(&[
        "packet-loss",
        "--unit",
        API_1,
        "--port",
        "8200",
        "--for",
        "10m",
    ])?;
    under_load(|| {
        wait::until_true(wait::SOON, "the fault is shown", || {
            let shown = query("observastack_fault_active > 0")?;
            Ok(shown.len() == 1
                && shown[0]["metric"]["fault"] == "packet-loss"
                && shown[0]["metric"]["unit"] == API_1)
        })?;
        let long = Duration::from_secs(150);
        wait::until_true(long, "the budget's alert fires", || {
            let alert = "ALERTS{alertname=\"AvailabilityBudgetBurnFast\",alertstate=\"firing\"}";
            Ok(!query(alert)?.is_empty())
        })
    })?;
    lab::clear(id)?;
    wait::until_true(wait::SOON, "the fault is not shown any more", || {
        Ok(query("observastack_fault_active > 0")?.is_empty())
    })
}
