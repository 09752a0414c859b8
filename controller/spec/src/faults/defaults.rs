//! Values of fields that were not given.

use crate::{Direction, Distribution, Percent};

pub(super) fn both() -> Direction {
    Direction::Both
}

pub(super) fn out() -> Direction {
    Direction::Out
}

pub(super) fn uniform() -> Distribution {
    Distribution::Uniform
}

pub(super) fn half() -> Percent {
    Percent::new(50)
}

pub(super) fn all() -> Percent {
    Percent::new(100)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
