//! Whether as many packets are lost as were asked for: the kernel's count, and beside it what the client misses.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{
    ground::{Ground, UNIT},
    rules::Plan,
};
use crate::worker::Worker;

/// Datagrams of each row.
const DATAGRAMS: u64 = 100_000;

/// Half the width of an interval that holds 99 of 100 normally distributed values, in standard deviations.
const IN_99: f64 = 2.576;

/// What is asked for: losses one by one, or in bursts with these probabilities to enter and to leave one.
#[derive(Clone, Copy)]
enum Asked {
    Each(f64),
    Bursts(f64, f64),
}

const ASKED: [Asked; 5] = [
    Asked::Each(0.01),
    Asked::Each(0.05),
    Asked::Each(0.2),
    Asked::Each(0.5),
    Asked::Bursts(0.01, 0.25),
];

impl Asked {
    fn plan(self, seed: u64) -> Plan {
        match self {
            Self::Each(probability) => Plan::of(probability, seed),
            Self::Bursts(enter, leave) => Plan::bursts(enter, leave, seed),
        }
    }

    /// The share of datagrams that is lost in the long run.
    fn share(self) -> f64 {
        match self {
            Self::Each(probability) => probability,
            Self::Bursts(enter, leave) => enter / (enter + leave),
        }
    }

    /// How many are lost one after the other, on average.
    fn burst(self) -> f64 {
        match self {
            Self::Each(probability) => 1.0 / (1.0 - probability),
            Self::Bursts(_, leave) => 1.0 / leave,
        }
    }

    /// Where 99 of 100 counts lie.
    fn interval(self) -> (f64, f64) {
        let share = self.share();
        let mut variance = DATAGRAMS as f64 * share * (1.0 - share);
        if let Self::Bursts(enter, leave) = self {
            // Neighbours are alike: a two-state chain's sum varies that much more.
            let alike = 1.0 - enter - leave;
            variance *= (1.0 + alike) / (1.0 - alike);
        }
        let (mean, margin) = (DATAGRAMS as f64 * share, IN_99 * variance.sqrt());
        (mean - margin, mean + margin)
    }

    fn name(self) -> String {
        match self {
            Self::Each(probability) => format!("{} %", probability * 100.0),
            Self::Bursts(enter, leave) => format!(
                "bursts, {} % to enter, {} % to leave: {:.2} %",
                enter * 100.0,
                leave * 100.0,
                self.share() * 100.0
            ),
        }
    }
}

pub(super) fn run(object: &Path, root: &Path) -> Result<()> {
    let ground = Ground::make(root)?;
    let mut worker = Worker::start(&[], &ground.unit)?;
    let mut loader = ground.load(object)?;
    println!(
        "| asked of {DATAGRAMS} datagrams | the kernel's count | share | client misses | 99 % interval | lost in a row, asked | measured |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (asked, seed) in ASKED.into_iter().zip(1..) {
        let armed = loader.arm(UNIT, &asked.plan(seed).loss())?;
        let answer = worker.ask(&format!("datagrams {DATAGRAMS}"))?;
        let counts = loader.disarm(armed)?;
        let [arrived, gaps] = answer[..] else {
            bail!("the worker's answer has {} numbers", answer.len());
        };
        ensure!(
            counts.matched == DATAGRAMS,
            "the rule covered {} of {DATAGRAMS}",
            counts.matched
        );
        let missing = DATAGRAMS
            .checked_sub(arrived)
            .context("more arrived than was sent")?;
        let (low, high) = asked.interval();
        println!(
            "| {} | {} | {:.3} % | {missing} | {low:.0} to {high:.0} | {:.2} | {:.2} |",
            asked.name(),
            counts.injected,
            counts.injected as f64 / DATAGRAMS as f64 * 100.0,
            asked.burst(),
            missing as f64 / gaps as f64
        );
    }
    println!();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_rarer_and_longer_than_single_losses() {
        let bursts = Asked::Bursts(0.01, 0.25);
        assert!((bursts.share() - 0.0385).abs() < 0.0001);
        assert_eq!(bursts.burst(), 4.0);
        let single = Asked::Each(bursts.share());
        let width = |asked: Asked| asked.interval().1 - asked.interval().0;
        assert!(width(bursts) > 2.0 * width(single));
    }
}
