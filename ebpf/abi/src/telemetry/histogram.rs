//! Durations by powers of two.

/// How many buckets a histogram has.
pub const BUCKETS: usize = 28;

/// The first bucket ends at 2 to this many nanoseconds (1.024 µs); each further one at twice that, up to 68.7 s, and the last has no end.
pub const FIRST_END_LOG2: u32 = 10;

/// Durations in nanoseconds, counted in buckets whose ends are powers of two, on one CPU.
///
/// Powers of two are the buckets of an exponential histogram of scale 0 (OpenTelemetry's data model), so nothing is lost by
/// telling them as one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Durations in each bucket.
    pub buckets: [u64; BUCKETS],
    /// The sum of all, in nanoseconds.
    pub sum_ns: u64,
}

const _: () = assert!(size_of::<Histogram>() == 8 * (BUCKETS + 1));

/// An empty one.
pub const EMPTY: Histogram = Histogram {
    buckets: [0; BUCKETS],
    sum_ns: 0,
};

impl Default for Histogram {
    fn default() -> Self {
        EMPTY
    }
}

/// The bucket that a duration belongs to.
#[inline(always)]
pub const fn bucket_of(duration_ns: u64) -> usize {
    let log2 = log2(duration_ns >> (FIRST_END_LOG2 - 1));
    if log2 as usize >= BUCKETS {
        BUCKETS - 1
    } else {
        log2 as usize
    }
}

/// Where a bucket ends, in nanoseconds, exclusive; `None` for the last one.
#[inline]
pub const fn end_ns(bucket: usize) -> Option<u64> {
    if bucket + 1 < BUCKETS {
        Some(1 << (FIRST_END_LOG2 as usize + bucket))
    } else {
        None
    }
}

/// The position of the highest bit, 0 for 0. eBPF has no instruction for it, and LLVM's own way is twice as long.
#[inline(always)]
const fn log2(value: u64) -> u32 {
    let mut rest = value;
    let mut log2 = 0;
    if rest >> 32 != 0 {
        rest >>= 32;
        log2 += 32;
    }
    if rest >> 16 != 0 {
        rest >>= 16;
        log2 += 16;
    }
    if rest >> 8 != 0 {
        rest >>= 8;
        log2 += 8;
    }
    if rest >> 4 != 0 {
        rest >>= 4;
        log2 += 4;
    }
    if rest >> 2 != 0 {
        rest >>= 2;
        log2 += 2;
    }
    log2 + (rest >> 1) as u32
}

impl Histogram {
    /// Counts one duration.
    #[inline(always)]
    pub fn add(&mut self, duration_ns: u64) {
        // Without a panic that the kernel could not have: the index is below the length.
        if let Some(bucket) = self.buckets.get_mut(bucket_of(duration_ns)) {
            *bucket = bucket.wrapping_add(1);
        }
        self.sum_ns = self.sum_ns.wrapping_add(duration_ns);
    }

    /// Adds what another CPU has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = bucket.wrapping_add(*more);
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The end of the bucket in which the q-th part of all durations is reached: at most twice too large. `None` where there is none,
    /// `u64::MAX` in the last bucket.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * q) as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (bucket, inside) in self.buckets.iter().enumerate() {
            seen += inside;
            if *inside > 0 && seen >= rank {
                return Some(end_ns(bucket).unwrap_or(u64::MAX));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_lies_in_its_bucket(duration_ns: u64, shift in 0u32..64) {
            let duration_ns = duration_ns >> shift;
            let bucket = bucket_of(duration_ns);
            prop_assert!(end_ns(bucket).is_none_or(|end| duration_ns < end));
            prop_assert!(bucket == 0 || end_ns(bucket - 1).is_some_and(|start| duration_ns >= start));
        }

        #[test]
        fn a_merge_is_as_good_as_counting_together(left: Vec<u64>, right: Vec<u64>) {
            let counted = |durations: &[u64]| {
                let mut histogram = Histogram::default();
                durations.iter().for_each(|duration| histogram.add(*duration));
                histogram
            };
            let mut merged = counted(&left);
            merged.merge(&counted(&right));
            prop_assert_eq!(merged, counted(&[left, right].concat()));
        }

        #[test]
        fn the_position_of_the_highest_bit_is_found(value in 1u64..) {
            prop_assert_eq!(log2(value), value.ilog2());
        }

        #[test]
        fn a_quantile_is_at_most_twice_too_large(durations in proptest::collection::vec(512u64..1 << 35, 1..50), q in 0.01f64..=1.0) {
            let mut histogram = Histogram::default();
            durations.iter().for_each(|duration| histogram.add(*duration));
            let mut sorted = durations;
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * q) as usize).clamp(1, sorted.len());
            let exact = sorted[rank - 1];
            let told = histogram.quantile_ns(q).unwrap();
            prop_assert!(told > exact && told <= 2 * exact.max(512), "{} for {}", told, exact);
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile_ns(0.5), None);
    }
}
