//! When journeys begin.

use std::time::Duration;

use serde_saphyr::Spanned;

use super::{
    super::{
        ShapeError,
        form::{self, Form},
    },
    at,
};
use crate::{
    engine::Arrival,
    schedule::{self, Profile, Spacing},
};

pub(super) fn arrival(form: &Form) -> Result<Arrival, ShapeError> {
    match (&form.arrivals, &form.users) {
        (Some(arrivals), None) => open(arrivals),
        (None, Some(users)) => {
            let form::Users {
                count,
                think,
                r#for,
            } = &users.value;
            if !(1..=100_000).contains(&count.value) {
                return Err(at(count, "users: allowed are 1 to 100000"));
            }
            if r#for.0.is_zero() {
                return Err(at(users, "for: nothing would be sent in no time"));
            }
            Ok(Arrival::Closed {
                users: count.value as usize,
                think: think.map_or(Duration::ZERO, |time| time.0),
                length: r#for.0,
            })
        }
        (Some(_), Some(users)) => Err(at(
            users,
            "either `arrivals` (an open loop) or `users` (a closed one), not both",
        )),
        (None, None) => Err(ShapeError {
            line: 0,
            column: 0,
            reason: "`arrivals` (an open loop) or `users` (a closed one) is needed".to_owned(),
        }),
    }
}

fn open(arrivals: &Spanned<form::Arrivals>) -> Result<Arrival, ShapeError> {
    let mut segments = Vec::new();
    for stage in &arrivals.value.stages {
        segments.extend(schedule::parse(&stage.value).map_err(|error| at(stage, error))?);
    }
    if let Some(replay) = &arrivals.value.replay {
        segments.extend(schedule::replay(&replay.value).map_err(|error| at(replay, error))?);
    }
    let profile = Profile::new(segments);
    if profile.arrivals() < 1.0 {
        return Err(at(
            arrivals,
            "nothing would be sent: give `stages`, such as `200 for 1m`, or `replay` with lines of `at_s,rate`",
        ));
    }
    Ok(Arrival::Open {
        profile,
        spacing: match arrivals.value.spacing {
            form::Spacing::Even => Spacing::Even,
            form::Spacing::Poisson => Spacing::Poisson,
        },
    })
}
