//! Token buckets: one for all requests, one for each client address.
//!
//! A bucket is one atomic number (the generic cell rate algorithm): the time at which it would be full again. So the global
//! limit takes no lock, and new parameters apply to the next request without losing what was already spent.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::config::BucketConfig;

const SHARDS: usize = 16;
const MAX_CLIENTS_PER_SHARD: usize = 1_024;
const NS_PER_SECOND: f64 = 1e9;

/// A token bucket; full when new.
#[derive(Debug, Default)]
pub struct TokenBucket {
    full_at_ns: AtomicU64,
}

impl TokenBucket {
    /// Takes a token at `now_ns`; without one, `Err` has the ns until there is one.
    pub fn try_take(&self, config: &BucketConfig, now_ns: u64) -> Result<(), u64> {
        let mut before = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let (after, result) = take(config, before, now_ns);
            match self.full_at_ns.compare_exchange_weak(
                before,
                after,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return result,
                Err(current) => before = current,
            }
        }
    }
}

/// The bucket's state after it was asked for a token, and the answer: a token, or the wait for one in ns.
fn take(config: &BucketConfig, full_at_ns: u64, now_ns: u64) -> (u64, Result<(), u64>) {
    // Rounded down, so the rate is never lower than configured; at least 1 so that a token costs something.
    let token_ns = ((NS_PER_SECOND / config.requests_per_second) as u64).max(1);
    let empty_ns = now_ns.saturating_add(token_ns.saturating_mul(u64::from(config.burst)));
    // A bucket that was configured larger or slower before is at worst empty, not in debt.
    let full_at_ns = full_at_ns.clamp(now_ns, empty_ns);
    let next = full_at_ns.saturating_add(token_ns);
    if next > empty_ns {
        (full_at_ns, Err(next - empty_ns))
    } else {
        (next, Ok(()))
    }
}

/// A bucket for each client address, at most 16384 of them.
#[derive(Debug)]
pub struct ClientBuckets {
    hasher: RandomState,
    shards: [Mutex<HashMap<IpAddr, u64>>; SHARDS],
}

impl Default for ClientBuckets {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl ClientBuckets {
    /// As [`TokenBucket::try_take`], from the bucket of `client`.
    pub fn try_take(&self, config: &BucketConfig, client: IpAddr, now_ns: u64) -> Result<(), u64> {
        let index = self.hasher.hash_one(client) as usize % SHARDS;
        let mut shard = self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (after, result) = take(config, shard.get(&client).copied().unwrap_or(0), now_ns);
        if shard.len() >= MAX_CLIENTS_PER_SHARD && !shard.contains_key(&client) {
            // A full bucket is the same as none. If all are in use, forget the one that is fullest.
            shard.retain(|_, full_at_ns| *full_at_ns > now_ns);
            if shard.len() >= MAX_CLIENTS_PER_SHARD {
                let fullest = shard
                    .iter()
                    .min_by_key(|(_, full_at_ns)| **full_at_ns)
                    .map(|(client, _)| *client);
                if let Some(fullest) = fullest {
                    shard.remove(&fullest);
                }
            }
        }
        shard.insert(client, after);
        result
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn config(requests_per_second: f64, burst: u32) -> BucketConfig {
        BucketConfig {
            enabled: true,
            requests_per_second,
            burst,
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_says_how_long_to_wait() {
        let (bucket, config) = (TokenBucket::default(), config(10.0, 3));
        assert_eq!(
            (0..3)
                .map(|_| bucket.try_take(&config, 7))
                .collect::<Vec<_>>(),
            [Ok(()); 3]
        );
        assert_eq!(bucket.try_take(&config, 7), Err(100_000_000));
        assert_eq!(bucket.try_take(&config, 60_000_007), Err(40_000_000));
        assert_eq!(bucket.try_take(&config, 100_000_007), Ok(()));
    }

    #[test]
    fn a_lower_rate_does_not_leave_the_bucket_in_debt() {
        let (bucket, slow) = (TokenBucket::default(), config(0.01, 100));
        while bucket.try_take(&slow, 0).is_ok() {}
        let fast = config(1_000.0, 1);
        assert_eq!(bucket.try_take(&fast, 0), Err(1_000_000));
        assert_eq!(bucket.try_take(&fast, 1_000_000), Ok(()));
    }

    #[test]
    fn clients_do_not_spend_each_others_tokens() {
        let (buckets, config) = (ClientBuckets::default(), config(1.0, 1));
        let (first, second) = (
            Ipv4Addr::new(10, 0, 0, 1).into(),
            Ipv4Addr::new(10, 0, 0, 2).into(),
        );
        assert!(buckets.try_take(&config, first, 0).is_ok());
        assert!(buckets.try_take(&config, first, 0).is_err());
        assert!(buckets.try_take(&config, second, 0).is_ok());
    }

    #[test]
    fn the_number_of_clients_is_bounded_and_a_busy_one_is_kept() {
        let (buckets, config) = (ClientBuckets::default(), config(0.001, 10));
        let busy: IpAddr = Ipv4Addr::new(127, 0, 0, 1).into();
        while buckets.try_take(&config, busy, 0).is_ok() {}
        for number in 0..40_000u32 {
            let _ = buckets.try_take(&config, Ipv4Addr::from_bits(0x0a00_0000 + number).into(), 0);
        }
        assert!(buckets.len() <= SHARDS * MAX_CLIENTS_PER_SHARD);
        assert!(
            buckets.try_take(&config, busy, 0).is_err(),
            "an empty bucket must not be forgotten while fuller ones are there"
        );
    }

    proptest! {
        #[test]
        fn no_interval_gives_more_than_burst_plus_rate(
            rate in 1.0f64..5_000.0, burst in 1u32..50, pauses in prop::collection::vec(0u64..20_000_000, 1..300),
        ) {
            let (bucket, config) = (TokenBucket::default(), config(rate, burst));
            let (mut now_ns, mut taken) = (0u64, Vec::new());
            for pause in pauses {
                now_ns += pause;
                if bucket.try_take(&config, now_ns).is_ok() {
                    taken.push(now_ns);
                }
            }
            for (first, start) in taken.iter().enumerate() {
                for (last, end) in taken.iter().enumerate().skip(first) {
                    let allowed = f64::from(burst) + (end - start) as f64 / 1e9 * rate;
                    prop_assert!((last - first + 1) as f64 <= allowed * 1.00001 + 1.0);
                }
            }
        }
    }
}
