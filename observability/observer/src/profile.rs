//! One profile of one unit: taken, named, told.

use std::time::Duration;

use observastack_loader::{memory, observer::Sampling};
use observastack_spec::profile::{ProfileOf, ProfileReport};
use serde::Deserialize;
use tracing::info;

use crate::{
    clock,
    engine::{Engine, EngineError},
    stacks,
};

/// How often a second, where nobody says: not in step with what else happens regularly.
const FREQUENCY_HZ: u64 = 49;
/// For how long, where nobody says.
const SECONDS: f64 = 10.0;
/// A profile of a lab is short; its connection stays open meanwhile.
const MOST_SECONDS: f64 = 600.0;
/// More would be felt.
const MOST_HZ: u64 = 999;

/// What is asked for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    #[serde(default)]
    of: ProfileOf,
    #[serde(default = "seconds")]
    seconds: f64,
    hz: Option<u64>,
}

fn seconds() -> f64 {
    SECONDS
}

/// The same, in range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    sampling: Sampling,
    length: Duration,
}

impl Options {
    /// In range.
    ///
    /// # Errors
    /// What is not, in words.
    pub(crate) fn checked(self) -> Result<Checked, String> {
        if !(0.1..=MOST_SECONDS).contains(&self.seconds) {
            return Err(format!(
                "seconds={}: right would be 0.1 to {MOST_SECONDS}",
                self.seconds
            ));
        }
        let sampling = match (self.of, self.hz) {
            (ProfileOf::Cpu, hz) => Sampling::Cpu {
                frequency_hz: hz.unwrap_or(FREQUENCY_HZ),
            },
            (ProfileOf::OffCpu, None) => Sampling::OffCpu,
            (ProfileOf::OffCpu, Some(_)) => {
                return Err("hz: sleeps are not sampled, every one is seen; right would be of=cpu, or no hz".to_owned());
            }
        };
        if let Sampling::Cpu { frequency_hz } = sampling
            && !(1..=MOST_HZ).contains(&frequency_hz)
        {
            return Err(format!("hz={frequency_hz}: right would be 1 to {MOST_HZ}"));
        }
        Ok(Checked {
            sampling,
            length: Duration::from_secs_f64(self.seconds),
        })
    }
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Somebody else's goes on.
    #[error(
        "a profile is being taken already, and there is one at a time; try again when it has ended"
    )]
    Busy,
    /// The thread that owns the programs says no.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Whoever looked for names has panicked.
    #[error("the names of functions could not be found: {0}")]
    Names(#[from] tokio::task::JoinError),
}

/// Takes it; dropped before its end, it ends early and nothing comes of it.
pub(crate) async fn take(
    engine: &Engine,
    unit: &str,
    options: Checked,
) -> Result<ProfileReport, ProfileError> {
    let profiling = engine.profile(unit.to_owned(), options.sampling).await?;
    let profiling = profiling.ok_or(ProfileError::Busy)?;
    let at_unix_ms = clock::ms(clock::now());
    info!(unit, ?options, "profile begins");
    tokio::time::sleep(options.length).await;
    let found = profiling.end().await?;
    let (of, frequency_hz) = match options.sampling {
        Sampling::Cpu { frequency_hz } => (ProfileOf::Cpu, Some(frequency_hz)),
        Sampling::OffCpu => (ProfileOf::OffCpu, None),
    };
    // An odd file may take long to read, and must not keep others from their answers.
    let named = tokio::task::spawn_blocking(move || {
        let named = stacks::named(&found, of);
        // Symbols take some tens of megabytes, and are needed for a moment.
        memory::give_back();
        named
    })
    .await?;
    Ok(ProfileReport {
        unit: unit.to_owned(),
        of,
        at_unix_ms,
        seconds: options.length.as_secs_f64(),
        frequency_hz,
        stacks: named.stacks,
        notes: named.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(of: ProfileOf, seconds: f64, hz: Option<u64>) -> Options {
        Options { of, seconds, hz }
    }

    #[test]
    fn forty_nine_times_a_second_unless_somebody_says_otherwise() {
        let checked = |hz| options(ProfileOf::Cpu, 1.0, hz).checked().unwrap().sampling;
        assert_eq!(checked(None), Sampling::Cpu { frequency_hz: 49 });
        assert_eq!(checked(Some(99)), Sampling::Cpu { frequency_hz: 99 });
    }

    #[test]
    fn what_is_out_of_range_is_told_what_would_be_right() {
        for (wrong, right) in [
            (options(ProfileOf::Cpu, 0.0, None), "0.1 to 600"),
            (options(ProfileOf::Cpu, f64::NAN, None), "0.1 to 600"),
            (options(ProfileOf::OffCpu, 1e9, None), "0.1 to 600"),
            (options(ProfileOf::Cpu, 1.0, Some(0)), "1 to 999"),
            (options(ProfileOf::Cpu, 1.0, Some(1000)), "1 to 999"),
            (options(ProfileOf::OffCpu, 1.0, Some(49)), "no hz"),
        ] {
            let error = wrong.checked().unwrap_err();
            assert!(error.contains(right), "{error}");
        }
    }
}
