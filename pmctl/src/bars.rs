//! Histograms drawn as bars of text.

use pool_metadata::Histogram;

use crate::text;

/// The longest bar.
const WIDTH: u64 = 40;

/// The bar of a number, in proportion to the largest one. Only zero has none.
pub fn bar(number: u64, largest: u64) -> String {
    if number == 0 {
        return String::new();
    }
    let length = u128::from(number) * u128::from(WIDTH) / u128::from(largest.max(1));
    "#".repeat((length as usize).max(1))
}

/// Lines of labels, numbers and bars.
pub fn lines(rows: &[(String, u64)]) -> Vec<String> {
    let largest = rows.iter().map(|row| row.1).max().unwrap_or(0);
    let label = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let number = largest.to_string().len();
    rows.iter()
        .map(|(name, count)| {
            let line = format!(
                "  {name:>label$}  {count:>number$}  {}",
                bar(*count, largest)
            );
            line.trim_end().to_owned()
        })
        .collect()
}

/// Rows for times in nanoseconds: how many are up to each power of two, from the first that counts
/// something to the last.
pub fn times(nanoseconds: &[u64]) -> Vec<(String, u64)> {
    let mut buckets = [0_u64; 65];
    for time in nanoseconds {
        let bits = u64::BITS - time.saturating_sub(1).leading_zeros();
        buckets[bits as usize] += 1;
    }
    rows(&buckets)
}

/// Rows for a histogram of times in nanoseconds.
pub fn histogram(times: &Histogram) -> Vec<(String, u64)> {
    rows(&times.buckets)
}

/// Rows for counts of times up to 1, 2, 4 and so on, of which the last has no bound.
fn rows(buckets: &[u64]) -> Vec<(String, u64)> {
    let counted = |count: &u64| *count > 0;
    let Some(first) = buckets.iter().position(counted) else {
        return Vec::new();
    };
    let last = buckets.iter().rposition(counted).unwrap_or(first);
    let label = |bits: usize| match bits + 1 < buckets.len() {
        true => format!("up to {}", text::nanoseconds(1 << bits)),
        false => "more".to_owned(),
    };
    (first..=last)
        .map(|bits| (label(bits), buckets[bits]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_vanish() {
        let lengths = [0, 1, 500, 1000].map(|number| bar(number, 1000).len());
        assert_eq!(lengths, [0, 1, 20, 40]);
        assert_eq!(bar(u64::MAX, u64::MAX).len(), 40);
        let rows = [("a".to_owned(), 10), ("bc".to_owned(), 0)];
        assert_eq!(lines(&rows)[0], format!("   a  10  {}", "#".repeat(40)));
        assert_eq!(lines(&rows)[1], "  bc   0");
    }

    #[test]
    fn times_are_counted_up_to_powers_of_two() {
        assert_eq!(times(&[]), []);
        let rows = times(&[0, 1, 2, 3, 4, 5, 1024]);
        let counts: Vec<_> = rows.iter().map(|row| row.1).collect();
        assert_eq!(counts, [2, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(rows[10].0, "up to 1.0 us");
        assert_eq!(times(&[u64::MAX]), [("more".to_owned(), 1)]);
    }
}
