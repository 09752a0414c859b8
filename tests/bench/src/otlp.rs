//! What telemetry costs the shop: nobody looks, Prometheus scrapes, and all of OTLP with profiles, in turns.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{load, stats::median};

/// The services whose environment is changed.
const SERVICES: [&str; 3] = ["gateway", "api@", "inventory"];
const RUNNING: [&str; 4] = ["gateway", "api@1", "api@2", "inventory"];

/// What telemetry costs the shop.
#[derive(Debug, clap::Args)]
pub(crate) struct Otlp {
    /// Turns, each with every variant.
    #[arg(long, default_value_t = 5)]
    turns: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

const SHOP: [&str; 5] = ["gateway", "api@1", "api@2", "inventory", "postgresql"];
const COLLECTOR: [&str; 1] = ["collector"];

/// Who is told, each with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Nobody,
    Metrics,
    Traces,
    Profiles,
    /// As before, and nobody takes it.
    Dead,
}

const VARIANTS: [(Variant, &str); 5] = [
    (
        Variant::Nobody,
        "reference: nothing is sent, nobody scrapes",
    ),
    (Variant::Metrics, "metrics: Prometheus scrapes"),
    (
        Variant::Traces,
        "and traces (a tenth, 10 a second always) and logs",
    ),
    (Variant::Profiles, "and profiles (all that a lab does)"),
    (Variant::Dead, "the same, and the collector is stopped"),
];

/// What one variant came to, a number for each turn.
#[derive(Debug, Default)]
struct Figures {
    per_second: Vec<f64>,
    /// CPU time of the services and their database for an answer, and of the collector's, at half load.
    shop_us: Vec<f64>,
    collector_us: Vec<f64>,
    full_p99_ms: Vec<f64>,
    half_p50_ms: Vec<f64>,
    half_p99_ms: Vec<f64>,
}

impl Otlp {
    /// Measures in turns, prints a row for each variant, and leaves the lab as it was.
    pub(crate) fn run(&self) -> Result<()> {
        let measured = self.measure();
        let restored = set(None);
        let figures = measured?;
        restored?;
        let reference = median(&figures[0].per_second);
        println!(
            "| {} turns of {} s each | answers/s at saturation | of the reference | p99 ms at saturation | p50 ms at half of it | p99 ms at half of it | the shop's CPU µs an answer | the collector's |\n|---|---|---|---|---|---|---|---|",
            self.turns, self.seconds
        );
        for ((_, name), figures) in VARIANTS.iter().zip(&figures) {
            println!(
                "| {name} | {:.0} | {:+.1} % | {:.2} | {:.2} | {:.2} | {:.0} | {:.1} |",
                median(&figures.per_second),
                (median(&figures.per_second) / reference - 1.0) * 100.0,
                median(&figures.full_p99_ms),
                median(&figures.half_p50_ms),
                median(&figures.half_p99_ms),
                median(&figures.shop_us),
                median(&figures.collector_us)
            );
        }
        println!();
        Ok(())
    }

    fn measure(&self) -> Result<[Figures; 5]> {
        let length = Duration::from_secs(self.seconds);
        let mut all: [Figures; 5] = Default::default();
        let mut half = None;
        for turn in 0..self.turns {
            for ((variant, name), figures) in VARIANTS.iter().zip(&mut all) {
                set(Some(*variant))?;
                load::saturate(Duration::from_secs(2))?;
                let full = load::saturate(length)?;
                // The same for all of them: half of what the first run of the reference took.
                let rate = *half.get_or_insert(full.per_second / 2.0);
                let (shop, collector) = (cpu_us(&SHOP)?, cpu_us(&COLLECTOR)?);
                let paced = load::at_rate(rate, length)?;
                let answers = paced.per_second * length.as_secs_f64();
                figures.shop_us.push((cpu_us(&SHOP)? - shop) / answers);
                figures
                    .collector_us
                    .push((cpu_us(&COLLECTOR)? - collector) / answers);
                let ms = |ns: u64| ns as f64 / 1e6;
                figures.per_second.push(full.per_second);
                figures.full_p99_ms.push(ms(full.took.quantile_ns(0.99)));
                figures.half_p50_ms.push(ms(paced.took.quantile_ns(0.5)));
                figures.half_p99_ms.push(ms(paced.took.quantile_ns(0.99)));
                eprintln!(
                    "turn {turn}, {name}: {:.0} answers/s; at {rate:.0}/s p99 {:.2} ms",
                    full.per_second,
                    ms(paced.took.quantile_ns(0.99))
                );
            }
        }
        Ok(all)
    }
}

/// Makes the lab a variant; all as installed for `None`.
fn set(variant: Option<Variant>) -> Result<()> {
    let (scraped, sent, profiled, taken) = match variant {
        Some(Variant::Nobody) => (false, false, false, false),
        Some(Variant::Metrics) => (true, false, false, false),
        Some(Variant::Traces) => (true, true, false, true),
        Some(Variant::Profiles) | None => (true, true, true, true),
        Some(Variant::Dead) => (true, true, true, false),
    };
    let mut unset = Vec::new();
    if !sent {
        unset.push("OTEL_EXPORTER_OTLP_ENDPOINT");
    }
    if !profiled {
        unset.push("PYROSCOPE_SERVER_ADDRESS");
    }
    for service in SERVICES {
        let directory = format!("/run/systemd/system/observastack-{service}.service.d");
        let file = format!("{directory}/bench-otlp.conf");
        if unset.is_empty() {
            fs::remove_file(&file).ok();
            // Only an empty one: another drop-in may be somebody's.
            fs::remove_dir(&directory).ok();
        } else {
            fs::create_dir_all(&directory)?;
            let content = format!("[Service]\nUnsetEnvironment={}\n", unset.join(" "));
            fs::write(&file, content).with_context(|| file.clone())?;
        }
    }
    systemctl(&["daemon-reload"])?;
    for (unit, runs) in [("collector", taken), ("prometheus", scraped)] {
        let verb = if runs { "start" } else { "stop" };
        systemctl(&[verb, &format!("observastack-{unit}.service")])?;
    }
    let units = RUNNING.map(|unit| format!("observastack-{unit}.service"));
    let mut words = vec!["restart"];
    words.extend(units.iter().map(String::as_str));
    systemctl(&words)?;
    // The gateway's health checks have to find the API servers first.
    for _ in 0..100 {
        if load::saturate(Duration::from_millis(20)).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    load::saturate(Duration::from_millis(20)).map(drop)
}

/// CPU time of units so far, as systemd accounts for it.
fn cpu_us(units: &[&str]) -> Result<f64> {
    let mut sum_ns = 0.0;
    for unit in units {
        let unit = format!("observastack-{unit}.service");
        let output = Command::new("systemctl")
            .args(["show", "--value", "--property", "CPUUsageNSec", &unit])
            .output()
            .context("cannot run systemctl")?;
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // One that is stopped has none.
        sum_ns += value.parse::<f64>().unwrap_or_default();
    }
    Ok(sum_ns / 1e3)
}

fn systemctl(words: &[&str]) -> Result<()> {
    let status = Command::new("systemctl")
        .args(words)
        .status()
        .context("cannot run systemctl")?;
    ensure!(status.success(), "systemctl {words:?}: {status}");
    Ok(())
}
