//! Random numbers that are the same for the same seed and case (SplitMix64).

pub struct Random(u64);

impl Random {
    /// The numbers of one case.
    pub fn of_case(seed: u64, case: u64) -> Random {
        let mut random = Random(seed);
        let start = random.next() ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Random(start)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number less than `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A length from 1 to `most`, short ones as often as long ones.
    pub fn length(&mut self, most: usize) -> usize {
        let bits = usize::BITS - most.leading_zeros();
        let limit = 1 << self.below(bits as usize + 1);
        1 + self.below(limit.min(most))
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
