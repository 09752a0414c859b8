//! Monotonic time since the process started, as plain numbers, so that limiters and budgets are pure and testable.

use std::{sync::LazyLock, time::Instant};

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first call of any function of this module.
pub fn now_ms() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the first call of any function of this module.
pub fn now_ns() -> u64 {
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
