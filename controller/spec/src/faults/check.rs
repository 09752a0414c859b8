//! Ranges that several faults share.

use std::time::Duration;

use crate::{Burst, FieldError, HumanDuration};

pub(super) fn port(port: Option<u16>, errors: &mut Vec<FieldError>) {
    if port == Some(0) {
        let allowed = "a port from 1 to 65535, or none for every port";
        errors.push(FieldError::new("port", 0, allowed));
    }
}

/// A burst that was made by a program, not read from text, may be anything.
pub(super) fn burst(burst: Option<Burst>, errors: &mut Vec<FieldError>) {
    if let Some(burst) = burst.filter(|burst| !burst.is_possible()) {
        errors.push(FieldError::new("burst", burst, Burst::ALLOWED));
    }
}

pub(super) fn interval(
    interval: Option<HumanDuration>,
    shortest: Duration,
    errors: &mut Vec<FieldError>,
) {
    if let Some(interval) = interval.filter(|interval| interval.get() < shortest) {
        let allowed = format!("at least {}", humantime::format_duration(shortest));
        errors.push(FieldError::new("interval", interval, allowed));
    }
}
