//! Checks, by what the lab's parts tell.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use observastack_spec::scenario::check::{Check, ShareBound};

use super::{RealLab, failed, http, units};
use crate::lab::{Found, LabError};

/// What was measured in so many seconds counts.
const SECONDS: u64 = 10;

/// Looks at one check.
pub(super) async fn look(
    lab: &RealLab,
    check: &Check,
    faults: &BTreeMap<String, u64>,
) -> Result<Found, LabError> {
    match check {
        Check::Goodput(bound) => {
            let lately = lab.load.lately(SECONDS, 0.5).await?;
            Ok(share(bound, lately.good, lately.due))
        }
        Check::Errors(bound) => {
            let lately = lab.load.lately(SECONDS, 0.5).await?;
            Ok(share(bound, lately.errors, lately.due))
        }
        Check::Latency(bound) => {
            let lately = lab.load.lately(SECONDS, bound.quantile.value).await?;
            if lately.answered == 0 {
                return Ok(found(false, "no answers"));
            }
            let took = Duration::from_nanos(lately.quantile_ns);
            let below = bound.below.as_ref().is_none_or(|most| took < most.get());
            let above = bound
                .at_least
                .as_ref()
                .is_none_or(|least| took >= least.get());
            Ok(found(
                below && above,
                format!("{:.0} ms", took.as_secs_f64() * 1000.0),
            ))
        }
        Check::Promql(bound) => {
            let values = lab.prometheus.values(&bound.query).await?;
            let holds = |value: &f64| {
                bound.below.as_ref().is_none_or(|most| *value < most.value)
                    && bound
                        .at_least
                        .as_ref()
                        .is_none_or(|least| *value >= least.value)
            };
            Ok(found(
                !values.is_empty() && values.iter().all(holds),
                format!("{values:?}"),
            ))
        }
        Check::Sql(wanted) => {
            let value = lab.database.value(&wanted.query).await?;
            Ok(found(value == wanted.equals.value, value))
        }
        Check::Http(wanted) => {
            let began = Instant::now();
            let answer = http::get(&lab.gateway, &wanted.get).await?;
            let took = began.elapsed();
            let in_time = wanted.within.is_none_or(|within| took <= within.get());
            Ok(found(
                answer.status.as_u16() == wanted.status.value && in_time,
                format!("{} after {} ms", answer.status.as_u16(), took.as_millis()),
            ))
        }
        Check::Acted(name) => {
            let id = faults.get(name.as_str());
            let id = id.ok_or_else(|| failed(format!("fault {}", name.value), "not injected"))?;
            let times = lab.injector.acted(*id).await?;
            Ok(found(times > 0, format!("{times} times")))
        }
        Check::Active(unit) => {
            let is_active = units::is_active(unit).await?;
            let word = if is_active { "active" } else { "not active" };
            Ok(found(is_active, word))
        }
    }
}

fn found(holds: bool, found: impl Into<String>) -> Found {
    Found {
        holds,
        found: found.into(),
    }
}

/// A part of what was due; where nothing was, nothing holds.
fn share(bound: &ShareBound, part: u64, due: u64) -> Found {
    if due == 0 {
        return found(false, "no requests were due");
    }
    let share = part as f64 / due as f64;
    found(bound.holds(share), format!("{:.1} %", share * 100.0))
}
