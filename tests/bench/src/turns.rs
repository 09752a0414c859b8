//! The shop under load, again and again, as one variant of the lab after the other.

use std::{fmt, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::load;

/// The system under test.
pub(crate) const SHOP: [&str; 5] = ["gateway", "api@1", "api@2", "inventory", "postgresql"];

/// What one variant came to, a number for each turn.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) per_second: Vec<f64>,
    /// CPU time of two groups of units for an answer, at half load.
    pub(crate) cpu_us: [Vec<f64>; 2],
    pub(crate) full_p99_ms: Vec<f64>,
    pub(crate) half_p50_ms: Vec<f64>,
    pub(crate) half_p99_ms: Vec<f64>,
}

/// One turn, for whoever waits.
pub(crate) struct Told {
    per_second: f64,
    rate: f64,
    p99_ms: f64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} answers/s; at {:.0}/s p99 {:.2} ms",
            self.per_second, self.rate, self.p99_ms
        )
    }
}

impl Figures {
    /// Saturation, and then half of what the first turn of all came to.
    pub(crate) fn turn(
        &mut self,
        length: Duration,
        half: &mut Option<f64>,
        groups: [&[&str]; 2],
    ) -> Result<Told> {
        load::saturate(Duration::from_secs(2))?;
        let full = load::saturate(length)?;
        let rate = *half.get_or_insert(full.per_second / 2.0);
        let before = [cpu_us(groups[0])?, cpu_us(groups[1])?];
        let paced = load::at_rate(rate, length)?;
        let answers = paced.per_second * length.as_secs_f64();
        for ((group, before), used) in groups.iter().zip(before).zip(&mut self.cpu_us) {
            used.push((cpu_us(group)? - before) / answers);
        }
        let ms = |ns: u64| ns as f64 / 1e6;
        self.per_second.push(full.per_second);
        self.full_p99_ms.push(ms(full.took.quantile_ns(0.99)));
        self.half_p50_ms.push(ms(paced.took.quantile_ns(0.5)));
        self.half_p99_ms.push(ms(paced.took.quantile_ns(0.99)));
        Ok(Told {
            per_second: full.per_second,
            rate,
            p99_ms: ms(paced.took.quantile_ns(0.99)),
        })
    }
}

/// The gateway's health checks have to find the API servers first.
pub(crate) fn wait_until_it_answers() -> Result<()> {
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

/// Runs systemctl, which must succeed.
pub(crate) fn systemctl(words: &[&str]) -> Result<()> {
    let status = Command::new("systemctl")
        .args(words)
        .status()
        .context("cannot run systemctl")?;
    ensure!(status.success(), "systemctl {words:?}: {status}");
    Ok(())
}
