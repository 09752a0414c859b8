//! How much load a core makes, and how punctually: our generator beside wrk, oha, hey and Locust, in turns, against the same minimal
//! server on the other core. Or against a shop that is there.

mod minimal;
mod tools;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::stats::median;
use tools::{Outcome, Tool};

/// How much load a core makes, and how punctually.
#[derive(Debug, clap::Args)]
pub(crate) struct Loadgen {
    /// Our generator
    #[arg(long)]
    loadgen: PathBuf,
    /// The folder of oha
    #[arg(long)]
    oha: PathBuf,
    /// The folder of Locust, left out where it is not given
    #[arg(long)]
    locust: Option<PathBuf>,
    /// A shop, beside the minimal server
    #[arg(long)]
    shop: Option<String>,
    /// Turns, each with every tool
    #[arg(long, default_value_t = 3)]
    turns: u32,
    /// Seconds of each run
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// Connections, and users, of a closed loop.
pub(crate) const CONNECTIONS: u32 = 16;
/// Rates of the open loop: half of what is aimed at, that itself, and more.
const RATES: [u32; 3] = [25_000, 50_000, 75_000];

impl Loadgen {
    /// Measures and prints tables.
    pub(crate) fn run(&self) -> Result<()> {
        let server = minimal::start(0).context("the minimal server cannot be started")?;
        let minimal = format!("http://{server}/");
        self.closed("the minimal server", &minimal)?;
        self.open(&minimal)?;
        if let Some(shop) = &self.shop {
            self.closed("the shop", &format!("{shop}/products/P00001"))?;
        }
        Ok(())
    }

    fn tools(&self) -> Vec<Tool> {
        let mut tools = vec![
            Tool::Ours(self.loadgen.clone()),
            Tool::Wrk,
            Tool::Oha(self.oha.join("oha")),
            Tool::Hey,
        ];
        tools.extend(
            self.locust
                .iter()
                .map(|folder| Tool::Locust(folder.join("locust"))),
        );
        tools
    }

    fn closed(&self, name: &str, url: &str) -> Result<()> {
        let tools = self.tools();
        let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); tools.len()];
        for turn in 0..self.turns {
            for (tool, outcomes) in tools.iter().zip(&mut outcomes) {
                let outcome = tool.closed(url, Duration::from_secs(self.seconds))?;
                eprintln!("turn {turn}, {}: {outcome:?}", tool.name());
                outcomes.push(outcome);
            }
        }
        println!(
            "| {name}, {CONNECTIONS} connections, one core for the tool, {} turns of {} s | requests/s | requests per CPU second of the tool | p99 as it says, ms |\n|---|---|---|---|",
            self.turns, self.seconds
        );
        for (tool, outcomes) in tools.iter().zip(&outcomes) {
            let of = |figure: fn(&Outcome) -> f64| {
                median(&outcomes.iter().map(figure).collect::<Vec<_>>())
            };
            println!(
                "| {} | {:.0} | {:.0} | {:.2} |",
                tool.name(),
                of(|outcome| outcome.per_second),
                of(|outcome| outcome.per_second * outcome.elapsed_s / outcome.cpu_s.max(1e-9)),
                of(|outcome| outcome.p99_ms)
            );
        }
        println!();
        Ok(())
    }

    fn open(&self, url: &str) -> Result<()> {
        let length = Duration::from_secs(self.seconds);
        println!(
            "| an open loop at the minimal server, medians of {} turns of {} s | reached/s | p99 of the generator's lateness, µs | response p50, ms | response p99, ms | CPU of the generator |\n|---|---|---|---|---|---|",
            self.turns, self.seconds
        );
        let ours = Tool::Ours(self.loadgen.clone());
        let oha = Tool::Oha(self.oha.join("oha"));
        for rate in RATES {
            for tool in [&ours, &oha] {
                let outcomes: Vec<Outcome> = (0..self.turns)
                    .map(|_| tool.open(url, rate, length))
                    .collect::<Result<_>>()?;
                let of = |figure: fn(&Outcome) -> f64| {
                    median(&outcomes.iter().map(figure).collect::<Vec<_>>())
                };
                let late_us = of(|outcome| outcome.late_p99_us);
                println!(
                    "| {} at {rate}/s | {:.0} | {} | {:.3} | {:.3} | {:.0} % |",
                    tool.name(),
                    of(|outcome| outcome.per_second),
                    if late_us.is_nan() {
                        "it does not say".to_owned()
                    } else {
                        format!("{late_us:.1}")
                    },
                    of(|outcome| outcome.p50_ms),
                    of(|outcome| outcome.p99_ms),
                    of(|outcome| outcome.cpu_s / outcome.elapsed_s.max(1e-9) * 100.0)
                );
            }
        }
        println!();
        Ok(())
    }
}
