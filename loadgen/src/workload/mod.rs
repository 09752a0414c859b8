//! What clients do: journeys of requests, with variables, checks and repetitions. Pure: the same seed, the same requests.

mod chance;
mod check;
mod trace;
mod variable;

use std::time::Duration;

pub use chance::Chance;
pub use check::{Check, Extract, Source};
pub use trace::TraceId;
pub use variable::Generator;

use crate::http::{Kept, Parser, Template};

/// Everything that clients do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What they do, each with its weight.
    pub journeys: Vec<Journey>,
    /// Values that a journey begins with; those of [`Extract`] come after them.
    pub variables: Vec<Generator>,
    /// How many values a journey has in all.
    pub values: usize,
    /// The share of journeys whose requests are told to be traced.
    pub traced: f64,
    /// Where chance decides.
    pub seed: u64,
    /// The sum of the weights.
    weights: f64,
    /// How many steps the journeys before each have.
    first_endpoint: Vec<usize>,
}

/// What one client does, one request after the other.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its name in reports.
    pub name: String,
    /// How often it is done, beside the others.
    pub weight: f64,
    /// Its requests.
    pub steps: Vec<Step>,
}

/// A request of a journey.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name in reports.
    pub name: String,
    /// What is sent.
    pub template: Template,
    /// Whether the connection may be one that was used before, and may be used again.
    pub keep_alive: bool,
    /// Statuses that are as asked for; empty for anything below 400.
    pub statuses: Vec<u16>,
    /// What else the answer has to say.
    pub checks: Vec<Check>,
    /// What is kept of it.
    pub extract: Vec<Extract>,
    /// How long an answer may take, from when the request was sent, connecting included; and how long it may wait for a connection before
    /// that.
    pub timeout: Duration,
    /// What happens when it fails.
    pub retry: Retry,
    /// How long the client waits after the answer before it goes on.
    pub pause: Duration,
    /// How the request is written where not at once.
    pub slowly: Option<Slowly>,
    /// The client goes away so long after it has sent the request.
    pub abandon: Option<Duration>,
}

/// A request is written in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowly {
    /// Of so many bytes.
    pub bytes: usize,
    /// So long after each other.
    pub every: Duration,
}

/// What a client does when a request fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How often it is sent again.
    pub attempts: u32,
    /// How long the client waits before the first repetition.
    pub wait: Duration,
    /// How much longer it waits each time.
    pub factor: f64,
    /// The longest wait.
    pub longest: Duration,
    /// Whether the wait is any time between nothing and that ("full jitter").
    pub jitter: bool,
    /// Statuses that count as failed, beside no answer.
    pub statuses: Vec<u16>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 0,
            wait: Duration::ZERO,
            factor: 1.0,
            longest: Duration::from_secs(30),
            jitter: false,
            statuses: vec![429, 500, 502, 503, 504],
        }
    }
}

impl Retry {
    /// How long to wait before the repetition with this number, from 0.
    #[must_use]
    pub fn wait_before(&self, repetition: u32, chance: &mut Chance) -> Duration {
        let factor = self
            .factor
            .powi(i32::try_from(repetition).unwrap_or(i32::MAX));
        let seconds = (self.wait.as_secs_f64() * factor).min(self.longest.as_secs_f64());
        let share = if self.jitter { chance.share() } else { 1.0 };
        Duration::try_from_secs_f64(seconds * share).unwrap_or(self.longest)
    }
}

impl Step {
    /// A request that is only sent, as often as it is asked for.
    #[must_use]
    pub fn new(name: &str, template: Template) -> Self {
        Self {
            name: name.to_owned(),
            template,
            keep_alive: true,
            statuses: Vec::new(),
            checks: Vec::new(),
            extract: Vec::new(),
            timeout: Duration::from_secs(10),
            retry: Retry::default(),
            pause: Duration::ZERO,
            slowly: None,
            abandon: None,
        }
    }

    /// Whether a status is as asked for.
    #[must_use]
    pub fn accepts(&self, status: u16) -> bool {
        if self.statuses.is_empty() {
            status < 400
        } else {
            self.statuses.contains(&status)
        }
    }

    /// A parser for its answer.
    #[must_use]
    pub fn parser(&self) -> Parser {
        let is_looked_at = !self.checks.is_empty() || !self.extract.is_empty();
        Parser::new(self.template.is_head(), is_looked_at)
    }

    /// Looks at an answer: whether it says what it should; keeps what later requests need.
    #[must_use]
    pub fn look(&self, answer: &Kept, values: &mut [String]) -> bool {
        let body = check::Body::new(answer);
        let found = self.extract.iter().all(|extract| {
            extract.value(&body).is_some_and(|value| {
                if let Some(place) = values.get_mut(extract.place) {
                    *place = value;
                }
                true
            })
        });
        found && self.checks.iter().all(|check| check.holds(&body))
    }
}

impl Workload {
    /// Of journeys; those without a weight are never done.
    #[must_use]
    pub fn new(
        journeys: Vec<Journey>,
        variables: Vec<Generator>,
        values: usize,
        seed: u64,
    ) -> Self {
        let mut first_endpoint = Vec::with_capacity(journeys.len());
        let mut endpoints = 0;
        for journey in &journeys {
            first_endpoint.push(endpoints);
            endpoints += journey.steps.len();
        }
        Self {
            weights: journeys.iter().map(|journey| journey.weight).sum(),
            values: values.max(variables.len()),
            traced: 0.0,
            journeys,
            variables,
            seed,
            first_endpoint,
        }
    }

    /// One request, over and over.
    #[must_use]
    pub fn of(step: Step, seed: u64) -> Self {
        let journey = Journey {
            name: step.name.clone(),
            weight: 1.0,
            steps: vec![step],
        };
        Self::new(vec![journey], Vec::new(), 0, seed)
    }

    /// How many steps the journeys have together.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.journeys
            .iter()
            .map(|journey| journey.steps.len())
            .sum()
    }

    /// The place of a step among all of them.
    #[must_use]
    pub fn endpoint(&self, journey: usize, step: usize) -> usize {
        self.first_endpoint
            .get(journey)
            .map_or(0, |first| first + step)
    }

    /// A step; `None` after a journey's last.
    #[must_use]
    pub fn step(&self, journey: usize, step: usize) -> Option<&Step> {
        self.journeys.get(journey)?.steps.get(step)
    }

    /// Chance of the n-th arrival: the same for every number of workers.
    #[must_use]
    pub fn chance(&self, arrival: u64) -> Chance {
        Chance::of(self.seed, arrival)
    }

    /// Which journey it is.
    #[must_use]
    pub fn choose(&self, chance: &mut Chance) -> usize {
        if self.journeys.len() < 2 {
            return 0;
        }
        let mut left = chance.share() * self.weights;
        for (number, journey) in self.journeys.iter().enumerate() {
            left -= journey.weight;
            if left < 0.0 {
                return number;
            }
        }
        // Rounding: the last that is ever done.
        self.journeys
            .iter()
            .rposition(|journey| journey.weight > 0.0)
            .unwrap_or(0)
    }

    /// The values that a journey begins with.
    #[must_use]
    pub fn values(&self, arrival: u64, chance: &mut Chance) -> Vec<String> {
        // Most have none, and an empty vector costs nothing.
        let mut values: Vec<String> = self
            .variables
            .iter()
            .map(|generator| generator.value(arrival, chance))
            .collect();
        values.resize(self.values, String::new());
        values
    }

    /// Whether its requests are to be traced, and as which trace.
    #[must_use]
    pub fn trace(&self, chance: &mut Chance) -> Option<TraceId> {
        (self.traced > 0.0 && chance.share() < self.traced).then(|| TraceId::new(chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journey(name: &str, weight: f64) -> Journey {
        Journey {
            name: name.to_owned(),
            weight,
            steps: vec![Step::new(name, Template::raw(b"x"))],
        }
    }

    #[test]
    fn journeys_come_by_their_weights_and_the_seed_decides() {
        let workload = Workload::new(
            vec![journey("a", 3.0), journey("never", 0.0), journey("b", 1.0)],
            Vec::new(),
            0,
            7,
        );
        let chosen = |arrival| workload.choose(&mut workload.chance(arrival));
        let mut counts = [0_u32; 3];
        (0..40_000).for_each(|arrival| counts[chosen(arrival)] += 1);
        assert_eq!(counts[1], 0);
        // A standard deviation of 87.
        assert!((29_600..30_400).contains(&counts[0]), "{counts:?}");
        assert_eq!(chosen(11), chosen(11));
        assert_eq!((workload.endpoints(), workload.endpoint(2, 0)), (3, 2));
    }

    #[test]
    fn a_wait_grows_up_to_its_longest() {
        let retry = Retry {
            attempts: 9,
            wait: Duration::from_millis(100),
            factor: 2.0,
            longest: Duration::from_millis(500),
            ..Retry::default()
        };
        let waits: Vec<_> = (0..4)
            .map(|n| retry.wait_before(n, &mut Chance::of(1, 1)).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 500]);
        let full = Retry {
            jitter: true,
            ..retry
        };
        let mut chance = Chance::of(1, 2);
        let waits: Vec<_> = (0..100).map(|_| full.wait_before(9, &mut chance)).collect();
        let mean = waits.iter().sum::<Duration>().as_secs_f64() / 100.0;
        assert!((0.2..0.3).contains(&mean), "{mean}");
        assert!(waits.iter().all(|wait| *wait <= full.longest));
    }
}
