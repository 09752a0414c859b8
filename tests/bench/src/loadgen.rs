//! How much load a core makes, and how punctually: our generator beside wrk, oha, hey and Locust, in turns, against the same minimal
//! server on the other core. Or against a shop that is there.

mod known;
mod minimal;
mod tools;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::stats::median;
use known::{Delay, Known};
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

/// What every server here answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

/// Connections, and users, of a closed loop.
pub(crate) const CONNECTIONS: u32 = 16;
/// Rates of the open loop: half of what is aimed at, that itself, and more.
const RATES: [u32; 3] = [25_000, 50_000, 75_000];

/// How long a server with known delays is asked.
const EXACT: Duration = Duration::from_secs(10);

impl Loadgen {
    /// Measures and prints tables.
    pub(crate) fn run(&self) -> Result<()> {
        let server = minimal::start(0).context("the minimal server cannot be started")?;
        let minimal = format!("http://{server}/");
        self.closed("the minimal server", &minimal)?;
        self.open(&minimal)?;
        self.exact()?;
        self.stall()?;
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

    /// Our quantiles beside those of servers that measure their own delays.
    fn exact(&self) -> Result<()> {
        println!(
            "| a server with a delay, 200 requests/s for {} s | p50 as the server says, ms | as we say | p99 as the server says, ms | as we say |\n|---|---|---|---|---|",
            EXACT.as_secs()
        );
        let ms = Duration::from_millis;
        for (name, delay) in [
            ("always 100 ms", Delay::Fixed(ms(100))),
            ("50 ms, every tenth 500 ms", Delay::Two(ms(50), ms(500))),
        ] {
            let server = Known::start(delay)?;
            let url = format!("http://{}/", server.address);
            let outcome = Tool::Ours(self.loadgen.clone()).open(&url, 200, EXACT)?;
            let (p50, p99) = (server.quantile_ms(0.5), server.quantile_ms(0.99));
            let off = |found: f64, known: f64| (found / known - 1.0) * 100.0;
            println!(
                "| {name} | {p50:.2} | {:.2} ({:+.2} %) | {p99:.2} | {:.2} ({:+.2} %) |",
                outcome.p50_ms,
                off(outcome.p50_ms, p50),
                outcome.p99_ms,
                off(outcome.p99_ms, p99)
            );
        }
        println!();
        Ok(())
    }

    /// A server that stands still once: what an open loop sees of it, and what tools that wait for their answers do.
    fn stall(&self) -> Result<()> {
        let (from, to) = (Duration::from_secs(4), Duration::from_secs(6));
        // Of all that is due a share of (stall - x) / run waits longer than x.
        let expected = (to - from).as_secs_f64() - 0.01 * EXACT.as_secs_f64();
        println!(
            "| a server that stands still for 2 of {} s, once | p50, ms | p99, ms |\n|---|---|---|\n| what clients who come at a rate wait | 0 | {:.0} |",
            EXACT.as_secs(),
            expected * 1e3
        );
        let ours = Tool::Ours(self.loadgen.clone());
        let oha = Tool::Oha(self.oha.join("oha"));
        for (tool, is_open) in [
            (&ours, true),
            (&oha, true),
            (&ours, false),
            (&Tool::Wrk, false),
            (&Tool::Hey, false),
        ] {
            let server = Known::start(Delay::Stall(from, to))?;
            let url = format!("http://{}/", server.address);
            let (way, outcome) = if is_open {
                ("200/s", tool.open(&url, 200, EXACT)?)
            } else {
                ("closed loop", tool.closed(&url, EXACT)?)
            };
            println!(
                "| {}, {way} | {:.2} | {:.2} |",
                tool.name(),
                outcome.p50_ms,
                outcome.p99_ms
            );
        }
        println!();
        Ok(())
    }
}
