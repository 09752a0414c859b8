//! The configuration contract: changed live, validated, versioned, kept by the service itself, and never repaired behind
//! somebody's back.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    command,
    http::curl,
    journal,
    lab::{self, API_1, API_2, CONFIGURED, CTL, GATEWAY, INJECTOR, INVENTORY, SHOP, WORKER},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "config::a_change_takes_effect_at_once_under_a_new_version",
            live_change,
        ),
        test(
            "config::a_value_out_of_range_is_refused_by_name_and_changes_nothing",
            out_of_range,
        ),
        test(
            "config::an_unknown_field_is_refused_by_name_and_changes_nothing",
            unknown_field,
        ),
        test("config::a_stale_version_is_refused", stale_version),
        test(
            "config::it_survives_a_crash_and_nobody_repairs_it",
            survives_crash,
        ),
        test(
            "config::a_corrupt_file_stops_the_start_and_the_message_is_the_way_out",
            corrupt_file,
        ),
        test(
            "config::the_sites_file_is_the_default_until_somebody_changes_a_value",
            site_file,
        ),
        test("config::sighup_reads_a_file_that_was_edited", hangup),
    ]
}

fn version(service: &str) -> Result<u64> {
    lab::config(service)?["version"]
        .as_u64()
        .context("no version")
}

/// Everything of a configuration that a refused change must leave alone, with the file's content.
fn everything(service: &str, directory: &str) -> Result<(Value, Option<String>)> {
    let file = fs::read_to_string(format!("/var/lib/observastack/{directory}/config.json")).ok();
    Ok((lab::config(service)?, file))
}

fn live_change() -> Result<()> {
    let before = version("api@1")?;
    let pages = |limit: u32| curl(&[&format!("http://127.0.0.1:8101/products?limit={limit}")]);
    pages(60)?.expect(200)?;
    let changed = lab::configure("api@1", &["limits.max_page=50"])?;
    ensure!(
        changed["version"] == before + 1 && changed["source"] == "state",
        "{changed}"
    );
    ensure!(changed["config"]["limits"]["max_page"] == 50, "{changed}");
    let mark = journal::mark()?;
    let refused = pages(60)?.expect(422)?;
    ensure!(refused.to_string().contains("50"), "{refused}");
    pages(50)?.expect(200)?;

    let metrics = curl(&["http://127.0.0.1:8101/metrics"])?.body;
    let label = format!("config_version=\"{}\"", before + 1);
    let series = "http_server_request_duration_seconds_count";
    let counted = lab::metric(&metrics, series, &["http_route=\"/products\"", &label]);
    ensure!(counted >= Some(2.0), "{counted:?} requests under {label}");

    // Every record carries the version that is in effect.
    lab::configure("api@1", &["limits.max_page=40"])?;
    mark.wait_for(API_1, "the change with the version in a field", |record| {
        record["CONFIG_VERSION"] == (before + 2).to_string().as_str()
    })?;
    let reset = lab::ctl(&["config", "reset", "api@1"])?;
    ensure!(
        reset["version"] == before + 3 && reset["source"] == "default",
        "{reset}"
    );
    pages(60)?.expect(200)?;
    ensure!(
        lab::config("api@2")?["source"] == "default",
        "the neighbour was changed too"
    );
    Ok(())
}

fn out_of_range() -> Result<()> {
    let cases = [
        (
            "api@1",
            "api-1",
            "report.concurrency=65",
            "report.concurrency",
            "1 to 64",
        ),
        (
            "inventory",
            "inventory",
            "cache.ttl_ms=0",
            "cache.ttl_ms",
            "1 to 3600000",
        ),
        (
            "gateway",
            "gateway",
            "timeouts.connect_ms=0",
            "timeouts.connect_ms",
            "1 to 60000",
        ),
        (
            "gateway",
            "gateway",
            "retries.max_attempts=11",
            "retries.max_attempts",
            "1 to 10",
        ),
        // The wrong sign, type or name is as much out of range, and told in the same words.
        (
            "api@1",
            "api-1",
            "database.pool_size=-1",
            "database.pool_size",
            "1 to 200",
        ),
        (
            "inventory",
            "inventory",
            "cache.max_entries=abc",
            "cache.max_entries",
            "1 to 100000",
        ),
        (
            "api@1",
            "api-1",
            "report.algorithm=foo",
            "report.algorithm",
            "one of good, bad",
        ),
        (
            "gateway",
            "gateway",
            "balancing.algorithm=foo",
            "balancing.algorithm",
            "one of round_robin, random, consistent_hash",
        ),
    ];
    for (service, directory, assignment, field, allowed) in cases {
        let before = everything(service, directory)?;
        let refused = lab::ctl_ran(&["config", "set", service, assignment])?;
        refused.expect(2)?;
        let (_, value) = assignment.split_once('=').context("no value")?;
        refused.says(&[field, &format!("`{value}` is not allowed"), allowed])?;
        ensure!(
            everything(service, directory)? == before,
            "{assignment} was refused, but {service} has changed"
        );
    }
    // All of them are named, and the good ones among them are not applied.
    let before = everything("api@1", "api-1")?;
    let refused = lab::ctl_ran(&[
        "config",
        "set",
        "api@1",
        "limits.max_page=50",
        "report.top=0",
        "inventory.retries=11",
    ])?;
    refused.expect(2)?;
    refused.says(&["report.top", "inventory.retries"])?;
    ensure!(
        everything("api@1", "api-1")? == before,
        "part of a refused change was applied"
    );
    Ok(())
}

fn unknown_field() -> Result<()> {
    for (service, _, directory) in CONFIGURED {
        let before = everything(service, directory)?;
        let refused = lab::ctl_ran(&["config", "set", service, "colour=blue"])?;
        refused.expect(2)?;
        refused.says(&["colour"])?;
        ensure!(
            everything(service, directory)? == before,
            "{service} has changed"
        );
    }
    let refused = lab::ctl_ran(&["config", "get", "postgresql"])?;
    refused.expect(2)?;
    refused.says(&["postgresql", "gateway, inventory, worker or api@N"])
}

fn stale_version() -> Result<()> {
    let socket = "/run/observastack/api-1/admin.sock";
    let patch = |version: u64| {
        curl(&[
            "--unix-socket",
            socket,
            "--request",
            "PATCH",
            "--header",
            "content-type: application/merge-patch+json",
            "--header",
            &format!("If-Match: \"{version}\""),
            "--data",
            r#"{"limits":{"max_page":30}}"#,
            "http://localhost/config",
        ])
    };
    let current = version("api@1")?;
    patch(current + 5)?.expect(412)?;
    ensure!(version("api@1")? == current, "the version has moved");
    patch(current)?.expect(200)?;
    Ok(())
}

fn survives_crash() -> Result<()> {
    let mut changed = Vec::new();
    for (service, unit, assignment) in [
        ("api@1", API_1, "limits.max_page=33"),
        ("inventory", INVENTORY, "cache.ttl_ms=333"),
        ("worker", WORKER, "spool.keep=333"),
        ("gateway", GATEWAY, "retries.max_attempts=3"),
    ] {
        changed.push((service, unit, lab::configure(service, &[assignment])?));
    }
    for (_, unit, _) in &changed {
        let killed = systemd::kill_9(unit)?;
        systemd::wait_restarted(unit, killed)?;
    }
    // Nothing that keeps working has an opinion about it either.
    systemd::restart(INJECTOR)?;
    lab::wait_healthy()?;
    for (service, _, before) in &changed {
        let now = lab::config(service)?;
        for part in ["version", "config", "source"] {
            ensure!(
                now[part] == before[part],
                "{service} came back with another {part}: {now}, was {before}"
            );
        }
    }
    Ok(())
}

fn corrupt_file() -> Result<()> {
    let path = "/var/lib/observastack/api-2/config.json";
    for (content, named) in [
        ("{\"version\": 2, \"config\": {", "line 1"),
        (
            r#"{"version": 2, "config": {"report": {"concurrency": 1000}}}"#,
            "config.report.concurrency",
        ),
    ] {
        systemd::stop(API_2)?;
        fs::write(path, content)?;
        let mark = journal::mark()?;
        let started = command::run(&["systemctl", "start", API_2])?;
        ensure!(
            started.code != 0,
            "the unit started with a corrupt configuration"
        );
        let cure = format!("observastack-ctl config reset {API_2} --offline");
        let record = mark.wait_for(API_2, "the corrupt file", |record| {
            journal::message(record).contains(path)
        })?;
        for word in [named, &cure] {
            ensure!(
                journal::message(&record).contains(word),
                "`{word}` is missing in {record}"
            );
        }
        ensure!(
            fs::read_to_string(path)? == content,
            "the service has changed the file"
        );
        // The other instance serves meanwhile.
        for _ in 0..4 {
            curl(&[&format!("{SHOP}/products?limit=1")])?.expect(200)?;
        }
        command::output(&[CTL, "config", "reset", API_2, "--offline"])?;
        command::output(&["systemctl", "reset-failed", API_2])?;
        systemd::restart(API_2)?;
        let view = lab::config("api@2")?;
        ensure!(view["source"] == "default", "{view}");
    }
    Ok(())
}

fn hangup() -> Result<()> {
    let path = "/var/lib/observastack/api-1/config.json";
    let before = lab::configure("api@1", &["limits.max_page=33"])?;
    let version = before["version"].as_u64().context("no version")?;
    let process = lab::main_process(API_1)?;
    let text = fs::read_to_string(path)?;
    let edited = text.replace("\"max_page\": 33", "\"max_page\": 44");
    ensure!(edited != text, "the file does not look as expected: {text}");
    fs::write(path, &edited)?;
    command::output(&["systemctl", "reload", API_1])?;
    wait::until_true(wait::SOON, "the edited value is in effect", || {
        Ok(lab::config("api@1")?["config"]["limits"]["max_page"] == 44)
    })?;
    ensure!(
        lab::config("api@1")?["version"] == version + 1,
        "the version is not {}",
        version + 1
    );
    curl(&["http://127.0.0.1:8101/products?limit=45"])?.expect(422)?;

    // A file with an error in it changes nothing, and is named.
    let mark = journal::mark()?;
    fs::write(path, edited.replace("44", "0"))?;
    // Reloading reports no failure for it: the service is as well as before.
    command::run(&["systemctl", "reload", API_1])?;
    mark.wait_for(API_1, "the refused file", |record| {
        let text = journal::all_text(record);
        text.contains(path) && text.contains("limits.max_page")
    })?;
    ensure!(
        lab::config("api@1")?["config"]["limits"]["max_page"] == 44,
        "a refused file took effect"
    );
    ensure!(
        lab::main_process(API_1)? == process,
        "the service was restarted"
    );
    Ok(())
}

fn site_file() -> Result<()> {
    let file = SiteFile("/etc/observastack/inventory.json");
    ensure!(
        !std::path::Path::new(file.0).exists(),
        "{} is there already",
        file.0
    );
    fs::write(file.0, r#"{"cache": {"ttl_ms": 777}}"#)?;
    systemd::restart(INVENTORY)?;
    let view = lab::config("inventory")?;
    ensure!(
        view["source"] == "site" && view["config"]["cache"]["ttl_ms"] == 777,
        "{view}"
    );
    let changed = lab::configure("inventory", &["cache.ttl_ms=888"])?;
    ensure!(changed["source"] == "state", "{changed}");
    systemd::restart(INVENTORY)?;
    ensure!(
        lab::config("inventory")?["config"]["cache"]["ttl_ms"] == 888,
        "the change is lost"
    );
    let reset = lab::ctl(&["config", "reset", "inventory"])?;
    ensure!(
        reset["source"] == "site" && reset["config"]["cache"]["ttl_ms"] == 777,
        "{reset}"
    );

    fs::write(file.0, r#"{"cache": {"ttl_ms": 0}}"#)?;
    let mark = journal::mark()?;
    let started = command::run(&["systemctl", "restart", INVENTORY])?;
    ensure!(started.code != 0, "the unit started with a wrong site file");
    mark.wait_for(INVENTORY, "the wrong file", |record| {
        let message = journal::message(record);
        message.contains(file.0)
            && message.contains("cache.ttl_ms")
            && message.contains("remove it")
    })?;
    drop(file);
    command::output(&["systemctl", "reset-failed", INVENTORY])?;
    systemd::restart(INVENTORY)?;
    ensure!(
        lab::config("inventory")?["source"] == "default",
        "the file is gone, but not its values"
    );
    Ok(())
}

/// Removed when dropped.
struct SiteFile(&'static str);

impl Drop for SiteFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}
