//! When to try again: exponential backoff with full jitter from a seed (Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

/// The wait before each further attempt.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
    state: u64,
}

impl Backoff {
    /// Waits of up to `first`, then twice that, and so on up to `longest`. The same seed gives the same waits.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, attempts: 0, state: seed }
    }

    /// The wait before the next attempt: at least half of the step, so that a busy cloud is never hammered.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.first.saturating_mul(1 << self.attempts.min(20)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        let half = step / 2;
        // 32 bits of randomness stretch the second half of the step.
        let fraction = f64::from(u32::try_from(self.random() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        half + half.mul_f64(fraction)
    }

    /// How many attempts failed in a row.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 7);
        let waits: Vec<_> = (0..12).map(|_| backoff.next_wait()).collect();
        for (attempt, wait) in waits.iter().enumerate() {
            let step = Duration::from_secs(1_u64 << attempt.min(10)).min(Duration::from_secs(60));
            assert!(*wait >= step / 2 && *wait <= step, "{attempt}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_secs(1));
        let mut again = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 7);
        assert_eq!((0..12).map(|_| again.next_wait()).collect::<Vec<_>>(), waits, "the same seed gives the same waits");
    }
}
