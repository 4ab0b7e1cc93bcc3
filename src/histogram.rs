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
        let mut seen = 0_u64;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen = count.saturating_add(seen);
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
#[repr(C)]
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
        // Another process may have written anything there.
        let count = |all: u64, count: &u64| all.saturating_add(*count);
        Histogram {
            count: buckets.iter().fold(0, count),
            sum,
            buckets,
        }
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        std::iter::once(&self.sum).chain(&self.buckets)
    }
}

/// What a process counts of a store since it opened it.
///
/// Other processes read these words in this order (see `file/published.rs`): a field more goes to
/// the end.
#[repr(C)]
pub(crate) struct Counters {
    /// Number of operations in each commit.
    pub operations: Counting,
    /// Time that LMDB took for each commit, in nanoseconds.
    pub nanoseconds: Counting,
    /// Flushes of the data file.
    pub flushes: AtomicU64,
    /// Commits that were undone.
    pub undone: AtomicU64,
    /// Deferred commits that are not flushed yet. This one goes down as well.
    pub deferred: AtomicU64,
}

impl Counters {
    /// Their length in bytes.
    pub const LEN: usize = size_of::<Counters>();

    pub const fn new() -> Counters {
        Counters {
            operations: Counting::new(),
            nanoseconds: Counting::new(),
            flushes: AtomicU64::new(0),
            undone: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
        }
    }

    #[inline]
    pub fn add_commit(&self, operations: u64, time: Duration) {
        self.operations.add(operations);
        // 64 bits hold half a millennium.
        self.nanoseconds.add(time.as_nanos() as u64);
    }

    /// All of them, in the order in which they stand in memory.
    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        let histograms = self.operations.words().chain(self.nanoseconds.words());
        histograms.chain([&self.flushes, &self.undone, &self.deferred])
    }

    /// Counters with the values of these ones as they stand in memory.
    pub fn from_bytes(bytes: &[u8; Counters::LEN]) -> Counters {
        let counters = Counters::new();
        let (words, _) = bytes.as_chunks();
        for (counter, word) in counters.words().zip(words) {
            counter.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
        counters
    }

    /// Their values as they stand in memory.
    pub fn to_bytes(&self) -> [u8; Counters::LEN] {
        let mut bytes = [0; Counters::LEN];
        let (words, _) = bytes.as_chunks_mut();
        for (word, counter) in words.iter_mut().zip(self.words()) {
            *word = counter.load(Ordering::Relaxed).to_ne_bytes();
        }
        bytes
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
    fn sums_of_any_counts_do_not_overflow() {
        let counters = Counters::from_bytes(&[0xff; Counters::LEN]);
        let all = counters.operations.read();
        assert_eq!((all.count, all.sum), (u64::MAX, u64::MAX));
        assert_eq!([0.0, 0.5, 1.0].map(|q| all.quantile(q)), [1; 3]);
    }

    /// Other processes read them by their places.
    #[test]
    fn counters_stand_in_memory_in_the_order_of_their_words() {
        let counters = Counters::new();
        assert_eq!(counters.words().count() * 8, Counters::LEN);
        let start = &raw const counters as usize;
        for (at, word) in counters.words().enumerate() {
            assert_eq!(word.as_ptr() as usize, start + 8 * at);
            word.store(at as u64, Ordering::Relaxed);
        }
        let read = Counters::from_bytes(&counters.to_bytes());
        let values = read.words().map(|word| word.load(Ordering::Relaxed));
        assert!(values.eq(0..Counters::LEN as u64 / 8));
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
