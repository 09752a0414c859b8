//! Chance that is the same every time.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a few instructions, the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A sequence of its own for each seed and number.
    #[must_use]
    pub fn of(seed: u64, number: u64) -> Self {
        let mut of_seed = Self(seed);
        let mut of_number = Self(of_seed.number() ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(of_number.number())
    }

    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, each as likely as every other.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, never 1 itself.
    pub fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below a number that is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Of 2^64 a bound of any use here leaves a bias that nobody can measure.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// With the mean 1, as the waits of a Poisson process are.
    pub fn exponential(&mut self) -> f64 {
        // Never 0: its logarithm is taken.
        -(1.0 - self.share()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly_and_neighbours_have_nothing_in_common() {
        let mut counts = [0_u32; 10];
        for number in 0..100_000 {
            counts[Chance::of(1, number).below(10) as usize] += 1;
        }
        // A standard deviation of 95.
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
        let shares: Vec<f64> = (0..1_000).map(|n| Chance::of(n, 0).share()).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
    }
}
