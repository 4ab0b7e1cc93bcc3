//! A set of device ids, one bit each: two mebibytes for all there can be.

#[derive(Default)]
pub(crate) struct IdSet(Vec<u64>);

impl IdSet {
    /// Adds `id`; false if it was there.
    pub fn insert(&mut self, id: u32) -> bool {
        let at = id as usize / 64;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        let bit = 1 << (id % 64);
        let fresh = self.0[at] & bit == 0;
        self.0[at] |= bit;
        fresh
    }

    pub fn contains(&self, id: u32) -> bool {
        let word = self.0.get(id as usize / 64);
        word.is_some_and(|word| word & 1 << (id % 64) != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Its ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            (0..64)
                .filter(move |bit| word & 1 << bit != 0)
                .map(move |bit| (at * 64) as u32 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out_in_order() {
        let mut set = IdSet::default();
        assert!(set.is_empty() && !set.contains(0) && !set.contains(u32::MAX));
        let ids = [0, 1, 63, 64, 65, 127, 128, 16_777_214];
        for id in ids.iter().rev() {
            assert!(set.insert(*id) && !set.insert(*id) && set.contains(*id));
        }
        assert!(!set.contains(2) && !set.contains(16_777_213) && !set.is_empty());
        assert_eq!(set.iter().collect::<Vec<_>>(), ids);
    }
}
