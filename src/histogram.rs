//! Histograms: atomic counters that a writer increments, and the distribution read from them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Distribution of a series of values.
///
/// The bounds of the buckets are powers of two: the first bucket counts values up to 1, bucket `i`
/// values above 2^(i-1) and up to 2^i, and the last bucket all larger values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: u64,
    /// Number of values in each bucket.
    pub buckets: [u64; Histogram::BUCKETS],
}

impl Histogram {
    /// Number of buckets.
    pub const BUCKETS: usize = 40;

    /// The largest value that a bucket counts, `None` for the last bucket, which has no bound.
    pub fn upper_bound(bucket: usize) -> Option<u64> {
        (bucket + 1 < Histogram::BUCKETS).then(|| 1 << bucket)
    }

    /// The quantile `q`, from 0.0 to 1.0: a value that this fraction of the values does not exceed.
    /// It is the upper bound of the bucket that the quantile lies in, so at most twice the true
    /// value. 0 if there are no values, `u64::MAX` if it lies in the last bucket.
    pub fn quantile(&self, q: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64).max(1.0);
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

/// A histogram that threads add values to.
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

    /// The distribution so far. A value that is added at the same time may be in the sum and not
    /// yet in a bucket.
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

/// Commits of this process since it opened the store.
pub(crate) struct Commits {
    /// Number of operations in each commit.
    pub operations: Counting,
    /// Time that LMDB took for each commit, in nanoseconds.
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
        // 64 bits hold half a millennium.
        self.nanoseconds.add(time.as_nanos() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_counted_in_the_bucket_between_whose_bounds_it_lies() {
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
    fn quantile_is_the_upper_bound_of_its_bucket() {
        let counting = Counting::new();
        assert_eq!(counting.read().quantile(0.5), 0);
        for value in 1..=100 {
            counting.add(value);
        }
        let all = counting.read();
        assert_eq!((all.count, all.sum), (100, 5050));
        let quantiles = [-1.0, 0.0, 0.01, 0.02, 0.5, 0.64, 0.65, 0.99, 1.0, 7.0];
        assert_eq!(
            quantiles.map(|q| all.quantile(q)),
            [1, 1, 1, 2, 64, 64, 128, 128, 128, 128]
        );
        counting.add(u64::MAX);
        assert_eq!(counting.read().quantile(1.0), u64::MAX);
    }

    #[test]
    fn values_that_threads_add_at_once_are_all_counted() {
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
