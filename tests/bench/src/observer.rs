//! What kernel telemetry costs the shop: without it, with what is always on, with everything, and beside strace, in turns.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    stats::median,
    turns::{self, Figures, SHOP, systemctl},
};

const SOCKET: &str = "/run/observastack/observer/observer.sock";
const UNIT: &str = "observastack-observer.service";
const GROUP: [&str; 1] = ["observer"];

/// What kernel telemetry costs the shop.
#[derive(Debug, clap::Args)]
pub(crate) struct Observer {
    /// Turns, each with every variant.
    #[arg(long, default_value_t = 7)]
    turns: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Nothing,
    AlwaysOn,
    Everything,
    Strace,
}

const VARIANTS: [(Variant, &str); 4] = [
    (Variant::Nothing, "reference: the observer is stopped"),
    (Variant::AlwaysOn, "always on"),
    (
        Variant::Everything,
        "and the system calls of all five units",
    ),
    (
        Variant::Strace,
        "the observer is stopped, strace -c counts the gateway's system calls",
    ),
];

impl Observer {
    /// Measures in turns, prints a row for each variant, and leaves the lab as it was.
    pub(crate) fn run(&self) -> Result<()> {
        let measured = self.measure();
        let restored = systemctl(&["start", UNIT]).and_then(|()| count_calls(false));
        let figures = measured?;
        restored?;
        let reference = &figures[0];
        println!(
            "| {} turns of {} s each | answers/s at saturation | of the reference | p99 ms at half of it | of the reference | the shop's CPU µs an answer | the observer's |\n|---|---|---|---|---|---|---|",
            self.turns, self.seconds
        );
        let of = |figures: &[f64], reference: &[f64]| {
            // Turn by turn: what changes from minute to minute is not the variant's.
            let ratios = figures.iter().zip(reference);
            let ratios: Vec<f64> = ratios.map(|(one, other)| one / other).collect();
            (median(&ratios) - 1.0) * 100.0
        };
        for ((_, name), figures) in VARIANTS.iter().zip(&figures) {
            println!(
                "| {name} | {:.0} | {:+.1} % | {:.2} | {:+.1} % | {:.0} | {:.1} |",
                median(&figures.per_second),
                of(&figures.per_second, &reference.per_second),
                median(&figures.half_p99_ms),
                of(&figures.half_p99_ms, &reference.half_p99_ms),
                median(&figures.cpu_us[0]),
                median(&figures.cpu_us[1])
            );
        }
        println!();
        Ok(())
    }

    fn measure(&self) -> Result<[Figures; 4]> {
        let length = Duration::from_secs(self.seconds);
        let mut all: [Figures; 4] = Default::default();
        let mut half = None;
        for turn in 0..self.turns {
            for ((variant, name), figures) in VARIANTS.iter().zip(&mut all) {
                let _strace = set(*variant)?;
                let told = figures.turn(length, &mut half, [&SHOP, &GROUP])?;
                eprintln!("turn {turn}, {name}: {told}");
            }
        }
        Ok(all)
    }
}

/// Makes the lab a variant.
fn set(variant: Variant) -> Result<Option<Strace>> {
    match variant {
        Variant::Nothing => systemctl(&["stop", UNIT]).map(|()| None),
        Variant::AlwaysOn => systemctl(&["restart", UNIT]).map(|()| None),
        Variant::Everything => {
            systemctl(&["restart", UNIT])?;
            count_calls(true)?;
            Ok(None)
        }
        Variant::Strace => {
            systemctl(&["stop", UNIT])?;
            Ok(Some(Strace::start()?))
        }
    }
}

fn count_calls(on: bool) -> Result<()> {
    for unit in SHOP {
        let body = format!("{{\"on\":{on}}}");
        let url = format!("http://observer/v1/syscalls/observastack-{unit}.service");
        let status = Command::new("curl")
            .args(["--silent", "--fail", "--output", "/dev/null", "-X", "PUT"])
            .args(["--json", &body, "--unix-socket", SOCKET, &url])
            .status()
            .context("cannot run curl")?;
        ensure!(status.success(), "{url}: {status}");
    }
    Ok(())
}

/// strace on the gateway, which lets go when this is dropped.
struct Strace(Child);

impl Strace {
    fn start() -> Result<Self> {
        let output = Command::new("systemctl")
            .args(["show", "--value", "--property", "MainPID"])
            .arg("observastack-gateway.service")
            .output()?;
        let process = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let child = Command::new("strace")
            .args(["-f", "-c", "-o", "/dev/null", "-p", &process])
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run strace")?;
        let strace = Self(child);
        turns::wait_until_it_answers()?;
        Ok(strace)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
