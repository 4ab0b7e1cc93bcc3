//! Random numbers that repeat for the same seed (SplitMix64).

pub struct Rng(pub u64);

impl Rng {
    /// A generator for a seed, and for numbers that say what it is used for.
    pub fn of(seed: u64, what: &[usize]) -> Rng {
        let mut rng = Rng(seed);
        for number in what {
            rng.0 = rng.next() ^ *number as u64;
        }
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
