//! The only chance there is in a world: a small generator that is the same everywhere.

/// xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators").
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike: splitmix64's finaliser spreads them.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// True `share` times of a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        share > 0 && self.below(100) < share
    }

    /// One of `choices`.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_one_does_not() {
        let draw = |seed: u64| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.draw())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn shares_are_about_what_they_say() {
        let mut random = Random::new(3);
        let hits = (0..10_000).filter(|_| random.percent(20)).count();
        assert!((1_800..2_200).contains(&hits), "{hits} of 10000 at 20 percent");
        assert!(!(0..1000).any(|_| random.percent(0)));
    }
}
