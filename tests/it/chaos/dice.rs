//! Random choices that can be made again: SplitMix64 under a printed seed.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A row of random numbers.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// From `CHAOS_SEED`, or some seed; it is printed either way.
    pub(super) fn of_this_run() -> Self {
        let given = std::env::var("CHAOS_SEED").ok().map(|text| text.parse().expect("CHAOS_SEED is a whole number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        eprintln!("CHAOS_SEED={seed}");
        Self(seed)
    }

    /// Dice of its own for another thread.
    pub(super) fn another(&mut self) -> Self {
        Self(self.next())
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From nothing up to `length`, to the microsecond.
    pub(super) fn up_to(&mut self, length: Duration) -> Duration {
        let micros = u64::try_from(length.as_micros()).unwrap();
        Duration::from_micros(self.below(micros.max(1)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
