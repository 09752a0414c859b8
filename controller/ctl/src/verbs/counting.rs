//! What the observer counts of a unit while somebody asks for it.

use std::time::{Duration, Instant};

use clap::Args;
use hyper::Method;
use observastack_spec::kernel::{KernelReport, OTHER_UNIT, ProbeList, Switch, Times, UnitReport};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::{client::Client, collector::short, failure::Failure, output};

/// What is counted, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Counting {
    /// The unit, such as api@1.
    #[arg(long)]
    unit: String,
    /// For how long.
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    length: Duration,
}

/// A unit before and after it was counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// The unit's full name.
    pub(super) unit: String,
    pub(super) seconds: f64,
    pub(super) before: UnitReport,
    pub(super) after: UnitReport,
}

impl Counted {
    /// A table for people, below what it is of.
    pub(super) fn table(&self, header: &[&str], rows: &[Vec<String>]) -> String {
        format!(
            "{} for {:.1} s\n\n{}",
            self.unit,
            self.seconds,
            output::table(header, rows)
        )
    }

    /// The same for programs, under a name.
    pub(super) fn json(&self, name: &str, found: &impl Serialize) -> Value {
        json!({"unit": self.unit, "seconds": self.seconds, name: found})
    }
}

/// Has something of a unit counted for some time, or until Ctrl-C.
pub(super) async fn during(
    observer: &Client,
    what: &str,
    asked: &Counting,
) -> Result<Counted, Failure> {
    let mut report = read(observer).await?;
    let unit = known(&report, &asked.unit)?;
    let before = report.units.remove(&unit).unwrap_or_default();
    let path = format!("/v1/{what}/{}", escaped(&unit));
    let interrupted = interrupted()?;
    let _: ProbeList = observer
        .ask(Method::PUT, &path, Some(&Switch { on: true }))
        .await?;
    let started = Instant::now();
    tokio::select! {
        () = tokio::time::sleep(asked.length) => {}
        () = interrupted => {}
    }
    // Read before it is switched off, so that what it took is what is told; and switched off whatever became of the reading.
    let after = read(observer).await;
    let seconds = started.elapsed().as_secs_f64();
    let off: Result<ProbeList, Failure> = observer
        .ask(Method::PUT, &path, Some(&Switch { on: false }))
        .await;
    let after = after?.units.remove(&unit).unwrap_or_default();
    off?;
    Ok(Counted {
        unit,
        seconds,
        before,
        after,
    })
}

/// Ends with Ctrl-C, from now on.
pub(super) fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| Failure::Io {
        what: "cannot wait for Ctrl-C".to_owned(),
        source,
    })?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// A unit's name in a path: one that systemd has escaped has a backslash in it.
pub(super) fn escaped(unit: &str) -> String {
    form_urlencoded::byte_serialize(unit.as_bytes()).collect()
}

/// What the observer knows.
pub(super) async fn read(observer: &Client) -> Result<KernelReport, Failure> {
    observer.ask(Method::GET, "/v1/kernel", None::<&()>).await
}

/// The unit's full name, of those that the observer knows.
pub(super) fn known(report: &KernelReport, name: &str) -> Result<String, Failure> {
    let units = || report.units.keys().filter(|unit| *unit != OTHER_UNIT);
    let found = units().find(|unit| *unit == name || short(unit) == short(name));
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = units().map(|unit| short(unit)).collect();
        Failure::Usage(format!(
            "no unit `{name}` is known; there are {}",
            names.join(", ")
        ))
    })
}

/// The mean of durations, for people.
pub(super) fn mean(times: &Times) -> String {
    let mean = times.sum_ns.checked_div(times.count());
    mean.map(output::nanoseconds).unwrap_or_default()
}

/// What a part of them is below.
pub(super) fn below(times: &Times, q: f64) -> String {
    times
        .quantile_ns(q)
        .map(output::nanoseconds)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_by_its_short_name_and_an_unknown_one_is_told_the_others() {
        let names = ["observastack-api@1.service", "cron.service", OTHER_UNIT];
        let report = KernelReport {
            units: names
                .map(|name| (name.to_owned(), UnitReport::default()))
                .into(),
            ..KernelReport::default()
        };
        let full = "observastack-api@1.service";
        for name in ["api@1", "observastack-api@1", full] {
            assert_eq!(known(&report, name).unwrap(), full);
        }
        let error = known(&report, "other").unwrap_err().to_string();
        assert_eq!(error, "no unit `other` is known; there are cron, api@1");
    }
}
