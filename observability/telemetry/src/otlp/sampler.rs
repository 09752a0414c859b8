//! Which traces are recorded. A caller's decision holds; where a trace begins here, so many a second are, and a share of the rest.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// How many of the traces that begin in this process are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// So many in each second, whatever the share is: a request by hand is always found again.
    pub always_per_second: u32,
    /// The share of the others, from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            always_per_second: 10,
            ratio: 0.1,
        }
    }
}

static POLICY: Policy = Policy::new();

/// Changes it from the next trace on; a ratio outside 0 to 1 is taken for the nearer end.
pub fn set_sampling(sampling: Sampling) {
    POLICY.set(sampling);
}

/// Both numbers, and this second's count, as the sampler reads them.
struct Policy {
    threshold: AtomicU64,
    always_per_second: AtomicU64,
    /// The second in the high half, and how many traces it had in the low one.
    second: AtomicU64,
}

impl Policy {
    const fn new() -> Self {
        Self {
            // [`Sampling::default`].
            threshold: AtomicU64::new(u64::MAX / 10),
            always_per_second: AtomicU64::new(10),
            second: AtomicU64::new(0),
        }
    }

    fn set(&self, sampling: Sampling) {
        self.threshold
            .store(threshold(sampling.ratio), Ordering::Relaxed);
        self.always_per_second
            .store(u64::from(sampling.always_per_second), Ordering::Relaxed);
    }

    /// `trace_id` is random, so its low half decides about the share, and so it does in every other process with this share.
    fn takes(&self, trace_id: TraceId, second: u64) -> bool {
        let threshold = self.threshold.load(Ordering::Relaxed);
        let low = u128::from_be_bytes(trace_id.to_bytes()) as u64;
        // Not `<` alone: of a share of 1, nothing is left out.
        (threshold == u64::MAX || low < threshold) || self.is_guaranteed(second)
    }

    fn is_guaranteed(&self, second: u64) -> bool {
        let most = self.always_per_second.load(Ordering::Relaxed);
        if most == 0 {
            return false;
        }
        let now = (second & 0xffff_ffff) << 32;
        self.second
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counted| {
                let had = if counted & !0xffff_ffff == now {
                    counted & 0xffff_ffff
                } else {
                    0
                };
                (had < most).then_some(now | (had + 1))
            })
            .is_ok()
    }
}

fn threshold(ratio: f64) -> u64 {
    // Saturating: 1.0 and more are all of them, 0 and NaN none.
    (ratio * u64::MAX as f64) as u64
}

/// Where a trace begins here, the policy decides; else whoever began it.
#[derive(Debug, Clone)]
pub(super) struct Root;

impl ShouldSample for Root {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        decide(parent, || POLICY.takes(trace_id, seconds_of_this_process()))
    }
}

/// Nothing is sent: no trace begins here that others would record without us, and those that come in go on.
#[derive(Debug, Clone)]
pub(crate) struct Unsent;

impl ShouldSample for Unsent {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        decide(parent, || false)
    }
}

fn decide(parent: Option<&Context>, begins: impl FnOnce() -> bool) -> SamplingResult {
    let parent = parent.filter(|context| context.has_active_span());
    let (sampled, trace_state) = match parent {
        Some(context) => {
            let span = context.span();
            let above = span.span_context();
            (above.is_sampled(), above.trace_state().clone())
        }
        None => (begins(), TraceState::NONE),
    };
    SamplingResult {
        decision: if sampled {
            SamplingDecision::RecordAndSample
        } else {
            SamplingDecision::Drop
        },
        attributes: Vec::new(),
        trace_state,
    }
}

fn seconds_of_this_process() -> u64 {
    static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    // From 1: 0 is the count of no second.
    STARTED.elapsed().as_secs() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(always_per_second: u32, ratio: f64) -> Policy {
        let policy = Policy::new();
        policy.set(Sampling {
            always_per_second,
            ratio,
        });
        policy
    }

    fn id(number: u64) -> TraceId {
        // Spread as random ids are.
        TraceId::from(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1 << 127)
    }

    #[test]
    fn the_first_of_every_second_are_taken_whatever_the_share() {
        let policy = policy(3, 0.0);
        for second in [1, 2, 7] {
            let taken = (0..100).filter(|n| policy.takes(id(*n), second)).count();
            assert_eq!(taken, 3);
        }
    }

    #[test]
    fn a_share_of_all_takes_all_and_of_nothing_nothing() {
        let (all, nothing) = (policy(0, 1.0), policy(0, 0.0));
        assert!((0..1000).all(|n| all.takes(id(n), 1)));
        assert!(all.takes(TraceId::from(u128::MAX), 1));
        assert!(!(0..1000).any(|n| nothing.takes(id(n), 1)));
    }

    proptest! {
        #[test]
        fn a_share_is_kept(percent in 1u32..100) {
            let share = f64::from(percent) / 100.0;
            let policy = policy(0, share);
            let taken = (0..20_000).filter(|n| policy.takes(id(*n), 1)).count() as f64;
            prop_assert!((taken / 20_000.0 - share).abs() < 0.02, "{taken} of 20000 at {share}");
        }

        #[test]
        fn any_number_is_a_share(ratio: f64) {
            let threshold = threshold(ratio);
            prop_assert!(ratio > 0.0 || threshold == 0);
            prop_assert!(ratio < 1.0 || threshold == u64::MAX);
        }
    }
}
