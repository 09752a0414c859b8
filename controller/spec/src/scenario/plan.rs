//! What a seed makes of a scenario's steps: a timeline.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Scenario, action::Action, check::Check, sealed::LearnerEvent};
use crate::{HumanDuration, fault::FaultRequest};

/// How long a fault holds longer than its drill: it is cleared at the end, and ends by itself where nobody is left to do that.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The longest time that a fault can hold.
const LONGEST: Duration = Duration::from_secs(3600);

/// A timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// What it was made with.
    pub seed: u64,
    /// What is done: first what has a time, in its order, then what waits for something.
    pub entries: Vec<Entry>,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub moment: Moment,
    /// What.
    pub action: Action,
    /// The same as the injector is asked for it, where it is a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultRequest>,
    /// Whether it only happens so that there is something to be told from what matters.
    pub is_noise: bool,
}

/// When something is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// So long after the baseline was seen to hold.
    At(HumanDuration),
    /// Once this holds.
    When(Check),
    /// Once the learner does this.
    On(LearnerEvent),
}

/// The timeline of a scenario. Pure: the same scenario and seed, the same plan.
#[must_use]
pub fn plan(scenario: &Scenario, seed: u64) -> Plan {
    let sealed = &scenario.sealed;
    let whole = Duration::from_secs(u64::from(scenario.brief.minutes.value) * 60);
    let held = HumanDuration::from(LONGEST.min(whole + MARGIN));
    let mut timed: Vec<(Duration, Entry)> = Vec::new();
    let mut waiting = Vec::new();
    let entry = |moment, action: &Action, is_noise, stream| Entry {
        moment,
        fault: fault(action, held, drawn(seed, stream, u64::MAX)),
        action: action.clone(),
        is_noise,
    };
    for (stream, step) in (0..).zip(&sealed.steps.value) {
        let action = &step.action.value;
        if let Some(at) = &step.at {
            let latest = step.jitter.map_or(Duration::ZERO, HumanDuration::get);
            let at = at.get() + part(latest, drawn(seed, stream, 0));
            let moment = Moment::At(at.into());
            timed.push((at, entry(moment, action, false, stream)));
        } else if let Some(check) = &step.when {
            waiting.push(entry(
                Moment::When(check.value.clone()),
                action,
                false,
                stream,
            ));
        } else if let Some(event) = step.on {
            waiting.push(entry(Moment::On(event), action, false, stream));
        }
    }
    for (stream, noise) in (1_000_000..).zip(&sealed.noise) {
        let every = noise.every.get().max(Duration::from_secs(1));
        let mut at = Duration::ZERO;
        for number in 0.. {
            at += every + part(every, drawn(seed, stream, number));
            if at >= whole {
                break;
            }
            let moment = Moment::At(at.into());
            timed.push((at, entry(moment, &noise.action.value, true, stream)));
        }
    }
    // Stable: what is due at the same time happens in the file's order.
    timed.sort_by_key(|(at, _)| *at);
    let entries = timed.into_iter().map(|(_, entry)| entry).chain(waiting);
    Plan {
        seed,
        entries: entries.collect(),
    }
}

/// What the injector is asked for. Its own seed, where it has none, is drawn from the plan's.
fn fault(action: &Action, held: HumanDuration, seed: u64) -> Option<FaultRequest> {
    let Action::Fault(step) = action else {
        return None;
    };
    // It was checked when the scenario was read.
    let mut request = step.request(Some(held)).ok()?;
    if request.fault.uses().seed {
        request.seed = request.seed.or(Some(seed));
    }
    Some(request)
}

/// A part of a time, in milliseconds, as drawn.
fn part(most: Duration, drawn: u64) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(drawn % most.saturating_add(1))
}

/// The n-th number of a stream: SplitMix64 (Steele, Lea, Flood 2014) of a place in the sequence, so that one step more does not move the others.
fn drawn(seed: u64, stream: u64, number: u64) -> u64 {
    let mix = |z: u64| {
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let step = |state: u64, by: u64| {
        mix(state.wrapping_add(by.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    };
    step(step(seed, stream), number)
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, entry) in self.entries.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            write!(out, "{entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noise = if self.is_noise { " (noise)" } else { "" };
        match &self.moment {
            Moment::At(at) => {
                let (seconds, millis) = (at.get().as_secs(), at.get().subsec_millis());
                let (minutes, seconds) = (seconds / 60, seconds % 60);
                write!(out, "{minutes:02}:{seconds:02}.{millis:03}")?;
            }
            Moment::When(check) => write!(out, "once {check}")?,
            Moment::On(event) => write!(out, "on the learner's {event:?}")?,
        }
        write!(out, "  {}{noise}", self.action)
    }
}
