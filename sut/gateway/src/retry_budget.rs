//! The retry budget: how many retries all requests together may add to the load on the upstreams.
//!
//! As in finagle and linkerd: in a sliding window, retries <= ratio x requests + min_per_second x window. Without it, three
//! attempts for each request triple the load exactly when the upstreams can bear it least.

use std::sync::{Mutex, PoisonError};

use crate::config::RetryBudgetConfig;

/// The window slides in so many steps.
const SLOTS: u64 = 10;

/// Counts requests and retries of the last window. Shared by all requests.
#[derive(Debug, Default)]
pub struct RetryBudget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    window_ms: u64,
    slots: [Slot; SLOTS as usize],
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    /// Which slice of time the counts belong to: time / slice length.
    slice: u64,
    requests: u64,
    retries: u64,
}

impl RetryBudget {
    /// Counts a request (not its retries) at `now_ms`.
    pub fn deposit(&self, config: &RetryBudgetConfig, now_ms: u64) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.slot(config.window_ms, now_ms).requests += 1;
    }

    /// Takes one retry out of the budget at `now_ms`; false when there is none left.
    pub fn try_withdraw(&self, config: &RetryBudgetConfig, now_ms: u64) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slice = window.slot(config.window_ms, now_ms).slice;
        let (requests, retries) = window.sums(slice);
        let reserve = f64::from(config.min_per_second) * config.window_ms as f64 / 1_000.0;
        let allowed = config.ratio * requests as f64 + reserve;
        if (retries + 1) as f64 > allowed {
            return false;
        }
        window.slot(config.window_ms, now_ms).retries += 1;
        true
    }
}

impl Window {
    /// The slot of `now_ms`, emptied first if it still holds an older slice.
    fn slot(&mut self, window_ms: u64, now_ms: u64) -> &mut Slot {
        if self.window_ms != window_ms {
            // Slices of another length cannot be compared: a changed window starts empty.
            *self = Self {
                window_ms,
                ..Self::default()
            };
        }
        let slice = now_ms / (window_ms / SLOTS).max(1);
        let slot = &mut self.slots[(slice % SLOTS) as usize];
        if slot.slice != slice {
            *slot = Slot {
                slice,
                ..Slot::default()
            };
        }
        slot
    }

    fn sums(&self, newest: u64) -> (u64, u64) {
        self.slots
            .iter()
            .filter(|slot| slot.slice + SLOTS > newest)
            .fold((0, 0), |(requests, retries), slot| {
                (requests + slot.requests, retries + slot.retries)
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(ratio: f64, min_per_second: u32, window_ms: u64) -> RetryBudgetConfig {
        RetryBudgetConfig {
            ratio,
            min_per_second,
            window_ms,
        }
    }

    #[test]
    fn without_traffic_only_the_reserve_is_there() {
        let (budget, config) = (RetryBudget::default(), config(0.5, 3, 10_000));
        let granted = (0..100).filter(|_| budget.try_withdraw(&config, 5)).count();
        assert_eq!(granted, 30);
    }

    #[test]
    fn requests_earn_retries_by_the_ratio() {
        let (budget, config) = (RetryBudget::default(), config(0.2, 0, 10_000));
        assert!(!budget.try_withdraw(&config, 0));
        for _ in 0..50 {
            budget.deposit(&config, 0);
        }
        let granted = (0..100).filter(|_| budget.try_withdraw(&config, 0)).count();
        assert_eq!(granted, 10);
    }

    #[test]
    fn what_is_older_than_the_window_no_longer_counts() {
        let (budget, config) = (RetryBudget::default(), config(1.0, 0, 1_000));
        for _ in 0..5 {
            budget.deposit(&config, 0);
        }
        assert!(budget.try_withdraw(&config, 999));
        assert!(
            !budget.try_withdraw(&config, 1_000),
            "deposits of the last window must be gone"
        );
        budget.deposit(&config, 1_899);
        assert!(
            !budget.try_withdraw(&config, 1_899),
            "the retry at 999 is still in the window"
        );
        assert!(budget.try_withdraw(&config, 1_900));
    }

    proptest! {
        #[test]
        fn no_retry_is_granted_beyond_the_ratio_and_the_reserve_of_its_window(
            ratio in 0.0f64..2.0, min_per_second in 0u32..20, events in prop::collection::vec((0u64..200, any::<bool>()), 1..400),
        ) {
            let (budget, config) = (RetryBudget::default(), config(ratio, min_per_second, 1_000));
            let (mut now_ms, mut log) = (0, Vec::new());
            for (pause_ms, is_request) in events {
                now_ms += pause_ms;
                if is_request {
                    budget.deposit(&config, now_ms);
                    log.push((now_ms, true));
                } else if budget.try_withdraw(&config, now_ms) {
                    log.push((now_ms, false));
                }
            }
            for (last, &(end, is_request)) in log.iter().enumerate() {
                if is_request {
                    continue;
                }
                // What the decision looked at: the slice of `end` and the nine before it.
                let start = (end / 100).saturating_sub(9) * 100;
                let window = log[..=last].iter().filter(|(at, _)| *at >= start);
                let (requests, retries) =
                    window.fold((0, 0), |(q, r), (_, is_request)| if *is_request { (q + 1, r) } else { (q, r + 1) });
                let allowed = ratio * f64::from(requests) + f64::from(min_per_second);
                prop_assert!(f64::from(retries) <= allowed + 1e-9, "{retries} retries for {requests} requests ending at {end}");
            }
        }
    }
}
