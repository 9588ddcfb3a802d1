//! Chance as an argument: a small seeded generator.
//!
//! Pure code that needs jitter gets `&mut Dice`; the seed is printed by whoever makes one, and the same seed gives the
//! same run. Not for secrets: anyone who sees a few outputs can tell the next.

/// Xoshiro256++, seeded through SplitMix64 so that nearby seeds give unrelated streams.
#[derive(Clone, Debug)]
pub struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// A generator for `seed`; every seed is a good one.
    pub fn new(seed: u64) -> Dice {
        let mut word = seed;
        let state = std::array::from_fn(|_| {
            word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = word;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        });
        Dice { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `0.0..1.0`, all 53 bits of it random.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `0..n`; 0 when `n` is 0. The bias is below one in 2^64 / n.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `lo..=hi`; `lo` when the range is empty.
    pub fn between(&mut self, lo: u64, hi: u64) -> u64 {
        if hi <= lo {
            return lo;
        }
        match (hi - lo).checked_add(1) {
            Some(width) => lo + self.below(width),
            None => self.next_u64(),
        }
    }

    /// True with the chance `p` (0 never, 1 always).
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run_and_another_seed_another() {
        let run = |seed| {
            let mut dice = Dice::new(seed);
            (0..8).map(|_| dice.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert_ne!(run(0), vec![0; 8]);
    }

    #[test]
    fn ranges_are_kept_and_both_ends_are_reached() {
        let mut dice = Dice::new(42);
        let mut seen = [false; 3];
        for _ in 0..1_000 {
            let unit = dice.unit();
            assert!((0.0..1.0).contains(&unit));
            seen[(dice.between(5, 7) - 5) as usize] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.between(9, 3), 9);
        dice.between(0, u64::MAX);
        assert!(!dice.chance(0.0) && dice.chance(1.0));
    }

    #[test]
    fn the_mean_of_many_throws_is_in_the_middle() {
        let mut dice = Dice::new(1);
        let mean = (0..100_000).map(|_| dice.unit()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
