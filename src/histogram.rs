//! How often values of each size came: counters that cost a writer next to nothing, and what they
//! showed when asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many values of each size there were.
///
/// The sizes double from bucket to bucket: the first counts values up to 1, bucket `i` those up to
/// 2^i that no bucket before it counts, and the last all that are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// How many values.
    pub count: u64,
    /// What they add up to.
    pub sum: u64,
    /// How many of them each bucket has.
    pub buckets: [u64; Histogram::BUCKETS],
}

impl Histogram {
    /// How many buckets there are.
    pub const BUCKETS: usize = 40;

    /// The largest value that this bucket counts; none for the last, which has no end.
    pub fn upper_bound(bucket: usize) -> Option<u64> {
        (bucket + 1 < Histogram::BUCKETS).then(|| 1 << bucket)
    }

    /// A value that at least this share of all values, from 0.0 to 1.0, does not exceed: the upper
    /// bound of the bucket where that share is reached, so at most twice the true value. 0 if
    /// there are no values, `u64::MAX` if it is one of the last bucket.
    pub fn quantile(&self, share: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).max(1.0);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen as f64 >= wanted {
                return Histogram::upper_bound(bucket).unwrap_or(u64::MAX);
            }
        }
        u64::MAX
    }

    fn bucket_of(value: u64) -> usize {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        (bits as usize).min(Histogram::BUCKETS - 1)
    }
}

/// A histogram that is being counted.
pub(crate) struct Counting {
    sum: AtomicU64,
    buckets: [AtomicU64; Histogram::BUCKETS],
}

impl Counting {
    pub const fn new() -> Counting {
        Counting {
            sum: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; Histogram::BUCKETS],
        }
    }

    #[inline]
    pub fn add(&self, value: u64) {
        self.sum.fetch_add(value, Ordering::Relaxed);
        self.buckets[Histogram::bucket_of(value)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far. A value that comes meanwhile may be in the sum and not yet in a
    /// bucket.
    pub fn read(&self) -> Histogram {
        let sum = self.sum.load(Ordering::Relaxed);
        let mut buckets = [0; Histogram::BUCKETS];
        for (to, from) in buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Ordering::Relaxed);
        }
        Histogram {
            count: buckets.iter().sum(),
            sum,
            buckets,
        }
    }
}

/// This process's commits since the store was opened.
pub(crate) struct Commits {
    /// How many operations each was for.
    pub operations: Counting,
    /// How long LMDB took for each, in nanoseconds.
    pub nanoseconds: Counting,
}

impl Commits {
    pub const fn new() -> Commits {
        Commits {
            operations: Counting::new(),
            nanoseconds: Counting::new(),
        }
    }

    #[inline]
    pub fn add(&self, operations: u64, time: Duration) {
        self.operations.add(operations);
        // Half a millennium fits.
        self.nanoseconds.add(time.as_nanos() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_bucket_whose_bounds_it_is_between() {
        let mut values: Vec<u64> = (0..=9).chain([u64::MAX - 1, u64::MAX]).collect();
        values.extend((3..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        for value in values {
            let counting = Counting::new();
            counting.add(value);
            let found = counting.read();
            assert_eq!((found.count, found.sum), (1, value));
            let bucket = found.buckets.iter().position(|count| *count == 1).unwrap();
            let upper = Histogram::upper_bound(bucket);
            assert!(upper.is_none_or(|upper| value <= upper), "{value}");
            if bucket > 0 {
                assert!(
                    value > Histogram::upper_bound(bucket - 1).unwrap(),
                    "{value}"
                );
            }
        }
        assert_eq!(Histogram::upper_bound(0), Some(1));
        assert_eq!(Histogram::upper_bound(38), Some(1 << 38));
        assert_eq!(Histogram::upper_bound(39), None);
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_where_it_lies() {
        let counting = Counting::new();
        assert_eq!(counting.read().quantile(0.5), 0);
        for value in 1..=100 {
            counting.add(value);
        }
        let all = counting.read();
        assert_eq!((all.count, all.sum), (100, 5050));
        let quantiles = [-1.0, 0.0, 0.01, 0.02, 0.5, 0.64, 0.65, 0.99, 1.0, 7.0];
        assert_eq!(
            quantiles.map(|share| all.quantile(share)),
            [1, 1, 1, 2, 64, 64, 128, 128, 128, 128]
        );
        counting.add(u64::MAX);
        assert_eq!(counting.read().quantile(1.0), u64::MAX);
    }

    #[test]
    fn threads_that_count_at_once_lose_nothing() {
        let counting = Counting::new();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let counting = &counting;
                scope.spawn(move || (0..10_000).for_each(|_| counting.add(thread)));
            }
        });
        let all = counting.read();
        assert_eq!((all.count, all.sum), (40_000, 60_000));
        assert_eq!(all.buckets[..3], [20_000, 10_000, 10_000]);
    }
}
