//! The lab as its users have it: the command line, the admin sockets, the database; and putting it back in order.

use std::{fs, path::Path, process, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    agents,
    command::{self, Ran},
    http, systemd, wait,
};

pub(crate) const CTL: &str = "/usr/bin/observastack-ctl";
pub(crate) const INJECTOR_BINARY: &str = "/usr/lib/observastack/bin/observastack-injector";
pub(crate) const GATEWAY_BINARY: &str = "/usr/lib/observastack/bin/observastack-gateway";
pub(crate) const INJECTOR_SOCKET: &str = "/run/observastack/injector/injector.sock";
pub(crate) const OBSERVER_SOCKET: &str = "/run/observastack/observer/observer.sock";
pub(crate) const LOADGEN_SOCKET: &str = "/run/observastack/loadgen/loadgen.sock";
pub(crate) const SHOP: &str = "http://127.0.0.1:8000";

pub(crate) const GATEWAY: &str = "observastack-gateway.service";
pub(crate) const API_1: &str = "observastack-api@1.service";
pub(crate) const API_2: &str = "observastack-api@2.service";
pub(crate) const INVENTORY: &str = "observastack-inventory.service";
pub(crate) const WORKER: &str = "observastack-worker.service";
pub(crate) const POSTGRESQL: &str = "observastack-postgresql.service";
pub(crate) const GUARD: &str = "observastack-guard.service";
pub(crate) const INJECTOR: &str = "observastack-injector.service";
pub(crate) const COLLECTOR: &str = "observastack-collector.service";
pub(crate) const CONTROLLER: &str = "observastack-controller.service";
pub(crate) const LOADGEN: &str = "observastack-loadgen.service";
pub(crate) const OBSERVER: &str = "observastack-observer.service";
pub(crate) const PROMETHEUS: &str = "observastack-prometheus.service";
pub(crate) const SUT_SLICE: &str = "observastack-sut.slice";

/// Every unit that runs all the time.
pub(crate) const UNITS: [&str; 13] = [
    GATEWAY, API_1, API_2, INVENTORY, WORKER, POSTGRESQL, GUARD, INJECTOR, COLLECTOR, PROMETHEUS,
    LOADGEN, OBSERVER, CONTROLLER,
];

/// The units that faults may break.
pub(crate) const SUT_UNITS: [&str; 6] = [GATEWAY, API_1, API_2, INVENTORY, WORKER, POSTGRESQL];

/// Services with a configuration: the short name, the unit, and the directory's name.
pub(crate) const CONFIGURED: [(&str, &str, &str); 5] = [
    ("gateway", GATEWAY, "gateway"),
    ("api@1", API_1, "api-1"),
    ("api@2", API_2, "api-2"),
    ("inventory", INVENTORY, "inventory"),
    ("worker", WORKER, "worker"),
];

/// Programs that the tests believe.
const TOOLS: [&str; 15] = [
    "curl",
    "dd",
    "ps",
    "ss",
    "tc",
    "nstat",
    "psql",
    "strace",
    "bpftool",
    "systemctl",
    "systemd-run",
    "systemd-analyze",
    "journalctl",
    "runuser",
    "useradd",
];

/// How long the whole lab may take to become healthy.
const HEALTHY: Duration = Duration::from_secs(90);

/// Checks that this is a lab, and that everything needed is there.
pub(crate) fn prepare() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "must run as root, inside the lab"
    );
    ensure!(
        Path::new("/run/systemd/system").is_dir() && Path::new(CTL).is_file(),
        "there is no lab on this machine: no systemd, or no {CTL}"
    );
    for tool in TOOLS {
        let found = command::run(&["sh", "-c", &format!("command -v {tool}")])?;
        ensure!(
            found.code == 0,
            "{tool} is not installed; on Debian: apt-get install curl iproute2 postgresql-client strace bpftool passwd"
        );
    }
    fs::create_dir_all(agents::DIRECTORY)?;
    repair().context("the lab is not healthy, so nothing can be tested")
}

/// Leaves nothing of the tests on the machine.
pub(crate) fn leave() -> Result<()> {
    match fs::remove_dir_all(agents::DIRECTORY) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(agents::DIRECTORY)
        }
        _ => Ok(()),
    }
}

/// `observastack-ctl --json WORDS`, which must succeed; what it prints.
pub(crate) fn ctl(words: &[&str]) -> Result<Value> {
    let ran = ctl_ran(words)?;
    ran.expect(0)?;
    serde_json::from_str(&ran.stdout).with_context(|| format!("{}: {}", ran.line, ran.stdout))
}

/// `observastack-ctl --json WORDS`, whatever comes of it.
pub(crate) fn ctl_ran(words: &[&str]) -> Result<Ran> {
    command::run(&[&[CTL, "--json"], words].concat())
}

/// Every fault that the injector knows, newest first.
pub(crate) fn faults() -> Result<Vec<Value>> {
    let list = ctl(&["faults"])?;
    list["faults"]
        .as_array()
        .cloned()
        .context("no list of faults")
}

/// The fault with this id as the injector shows it now.
pub(crate) fn fault(id: u64) -> Result<Value> {
    let found = faults()?.into_iter().find(|fault| fault["id"] == id);
    found.with_context(|| format!("there is no fault {id}"))
}

/// A count of a fault: `matched`, `injected` or `skipped`.
pub(crate) fn count(fault: &Value, name: &str) -> Result<u64> {
    fault["counts"][name]
        .as_u64()
        .with_context(|| format!("no count {name} in {fault}"))
}

/// Injects a fault; its id.
pub(crate) fn inject(words: &[&str]) -> Result<u64> {
    let fault = ctl(&[&["inject"], words].concat())?;
    fault["id"].as_u64().context("a fault without an id")
}

/// Clears one fault; how it ended.
pub(crate) fn clear(id: u64) -> Result<Value> {
    let cleared = ctl(&["clear", &id.to_string()])?;
    Ok(cleared["faults"][0].clone())
}

/// A service's configuration as `config get` shows it.
pub(crate) fn config(service: &str) -> Result<Value> {
    ctl(&["config", "get", service])
}

/// Changes fields of a service's configuration.
pub(crate) fn configure(service: &str, assignments: &[&str]) -> Result<Value> {
    ctl(&[&["config", "set", service], assignments].concat())
}

/// What the database says to a query, rows by line, columns by `|`.
pub(crate) fn sql(query: &str) -> Result<String> {
    let connection = "host=/run/observastack/postgresql port=5440 dbname=shop user=postgres";
    let words = [
        "runuser",
        "-u",
        "observastack-postgresql",
        "--",
        "psql",
        "-XqAt",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        connection,
        "-c",
        query,
    ];
    Ok(command::output(&words)?.trim().to_owned())
}

/// The body of an order of one product by customer 1.
pub(crate) fn order(sku: &str, quantity: u32) -> String {
    json!({"customer_id": 1, "lines": [{"sku": sku, "quantity": quantity}]}).to_string()
}

/// The value of a metric's series whose labels contain all of `labels`, from an OpenMetrics text; summed over series.
pub(crate) fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let series = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    let values: Vec<f64> = series
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Waits until every unit is active and every health check passes, the gateway's view of the API servers too.
pub(crate) fn wait_healthy() -> Result<()> {
    wait::until_true(HEALTHY, "the lab is healthy", || {
        let ran = ctl_ran(&["status"])?;
        ensure!(ran.code == 0, "{}", ran.stdout.trim());
        let health = http::curl(&["http://127.0.0.1:8001/healthz"])?;
        let metrics = http::curl(&["http://127.0.0.1:8001/metrics"])?.body;
        let healthy = metric(&metrics, "observastack_gateway_upstream_healthy", &[]);
        ensure!(
            healthy.is_none_or(|healthy| healthy >= 2.0),
            "the gateway has {healthy:?} healthy upstreams"
        );
        Ok(health.status == 200)
    })
}

/// Puts everything back that a test may have changed, and waits until the lab is healthy.
pub(crate) fn repair() -> Result<()> {
    // A stopped injector can't be asked for anything.
    for unit in [INJECTOR, GUARD] {
        let _ = command::run(&["systemctl", "kill", "--signal=CONT", unit]);
    }
    thaw()?;
    agents::stop_all()?;
    for (service, unit, directory) in CONFIGURED {
        let state = format!("/var/lib/observastack/{directory}");
        if command::run(&["mountpoint", "-q", &state])?.code == 0 {
            systemd::stop(unit)?;
            command::output(&["umount", &state])?;
        }
        if !systemd::is_active(unit)? {
            // It may have been stopped by a configuration that it does not like.
            let refused = fs::read_to_string(format!("{state}/config.json"))
                .is_ok_and(|text| serde_json::from_str::<Value>(&text).is_err());
            if refused {
                command::output(&[CTL, "config", "reset", service, "--offline"])?;
            }
        }
    }
    if systemd::remove_drop_ins()? {
        for unit in [API_1, API_2, INVENTORY, WORKER] {
            systemd::restart(unit)?;
        }
    }
    // Also forgets how often units were started lately: the next test may restart them as often as it likes.
    command::output(&[&["systemctl", "reset-failed"], &UNITS[..]].concat())?;
    // Left by a test that failed: what such a timer would revert is reverted now.
    command::output(&["systemctl", "stop", "observastack-revert-*.timer"])?;
    // A unit may not be able to start before its fault is cleared.
    command::output(&["systemctl", "start", GUARD, INJECTOR])?;
    end_drill()?;
    ctl(&["panic", "--lift"])?;
    ctl(&["clear", "--all"])?;
    command::output(&[&["systemctl", "start", "observastack.target"], &UNITS[..]].concat())?;
    for (service, _, _) in CONFIGURED {
        wait::until_true(
            wait::SOON,
            "a configuration goes back to what it was",
            || {
                if config(service)?["source"] == "state" {
                    ctl(&["config", "reset", service])?;
                }
                Ok(true)
            },
        )?;
    }
    wait_healthy()
}

/// Ends a drill that a test has left going: its controller would put back what the repair changes.
fn end_drill() -> Result<()> {
    // One that does not answer runs none.
    if ctl_ran(&["drill", "status"])?.code == 0 && !drill()?.is_null() {
        let _ = ctl_ran(&["drill", "abort"])?;
        wait_no_drill()?;
    }
    Ok(())
}

/// The drill's run that goes on; null where none does.
pub(crate) fn drill() -> Result<Value> {
    Ok(ctl(&["drill", "status"])?["run"].clone())
}

/// Ends a drill, whatever it is doing, and waits until the lab is back at its baseline.
pub(crate) fn abort_drill() -> Result<()> {
    ctl(&["drill", "abort"])?;
    wait_no_drill()
}

/// Waits until a drill has broken what it breaks, and its learner's time runs; the run.
pub(crate) fn wait_investigating() -> Result<Value> {
    wait::until(wait::SOON, "the incident has begun", || {
        let run = drill()?;
        Ok((run["life"]["phase"] == "investigating").then_some(run))
    })
}

/// Waits until the lab is back at its baseline after a drill.
pub(crate) fn wait_no_drill() -> Result<()> {
    wait::until_true(wait::SOON, "the lab is back at its baseline", || {
        Ok(drill()?.is_null())
    })
}

/// Thaws what a test may have left frozen: nothing else in the repair works on a frozen unit.
fn thaw() -> Result<()> {
    for unit in SUT_UNITS {
        let freeze = systemd::cgroup(unit)?.join("cgroup.freeze");
        if fs::read_to_string(&freeze).is_ok_and(|text| text.trim() == "1") {
            fs::write(&freeze, "0")?;
        }
    }
    Ok(())
}

/// What `doctor` reports, which fails where some fault does not work here.
pub(crate) fn doctor() -> Result<Value> {
    let ran = ctl_ran(&["doctor"])?;
    let report: Value = serde_json::from_str(&ran.stdout).with_context(|| ran.stderr.clone())?;
    let faults = report["faults"].as_array().context("no faults")?;
    let all_work = faults.iter().all(|fault| fault["answer"] != "no");
    ran.expect(if all_work { 0 } else { 1 })?;
    Ok(report)
}

/// What `doctor` says about a fault: whether it works here, and why not.
pub(crate) fn support(kind: &str) -> Result<(String, String)> {
    let report = doctor()?;
    let faults = report["faults"].as_array().context("no faults")?;
    let found = faults.iter().find(|fault| fault["fault"] == kind);
    let found = found.with_context(|| format!("doctor does not know {kind}"))?;
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Ok((text("answer"), text("reason")))
}

/// A unit's main process; an error where it has none.
pub(crate) fn main_process(unit: &str) -> Result<rustix::process::Pid> {
    let pid = systemd::property(unit, "MainPID")?;
    let number: i32 = pid
        .parse()
        .with_context(|| format!("MainPID of {unit}: {pid}"))?;
    match rustix::process::Pid::from_raw(number) {
        Some(pid) if pid != rustix::process::Pid::INIT && number != process::id() as i32 => Ok(pid),
        _ => bail!("{unit} has no main process"),
    }
}
