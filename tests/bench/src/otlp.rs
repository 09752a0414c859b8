//! What telemetry costs the shop: nobody looks, Prometheus scrapes, and all of OTLP with profiles, in turns.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

use crate::{
    stats::median,
    turns::{self, Figures, SHOP, systemctl},
};

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
                median(&figures.cpu_us[0]),
                median(&figures.cpu_us[1])
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
                let told = figures.turn(length, &mut half, [&SHOP, &COLLECTOR])?;
                eprintln!("turn {turn}, {name}: {told}");
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
    turns::wait_until_it_answers()
}
