//! The table that `make bench-writers` prints.

/// What one store did with one number of writers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Writes a second, of all writers together.
    pub rate: f64,
    /// Milliseconds that half of the writes took at most.
    pub p50: f64,
    /// Milliseconds that 99 of 100 writes took at most.
    pub p99: f64,
}

/// The stores, in the order of the table's columns.
pub const STORES: [&str; 4] = [
    "this store, goroutines",
    "containerd's store",
    "raw LMDB",
    "this store, threads",
];

/// One line of the table.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// `add` or `update`.
    pub operation: String,
    pub writers: u32,
    /// One for each of [`STORES`].
    pub measured: [Measured; 4],
}

/// Takes the rows of the table out of what the benchmark has printed.
pub fn parse(text: &str) -> Result<Vec<Row>, String> {
    let rows: Vec<Row> = text.lines().filter_map(row).collect();
    if rows.is_empty() {
        return Err("no measurement of writers in it; make it with `make bench-writers`".into());
    }
    Ok(rows)
}

fn row(line: &str) -> Option<Row> {
    let mut words = line.split_whitespace();
    let operation = words.next()?.to_string();
    let writers = words.next()?.parse().ok()?;
    let mut next = || {
        Some(Measured {
            rate: words.next()?.parse().ok()?,
            p50: milliseconds(words.next()?, words.next()?)?,
            p99: milliseconds(words.next()?, words.next()?)?,
        })
    };
    let measured = [next()?, next()?, next()?, next()?];
    Some(Row {
        operation,
        writers,
        measured,
    })
}

fn milliseconds(number: &str, unit: &str) -> Option<f64> {
    let number: f64 = number.parse().ok()?;
    match unit {
        "ns" => Some(number / 1e6),
        "us" => Some(number / 1e3),
        "ms" => Some(number),
        "s" => Some(number * 1e3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
A lone update, medians of 200 in turn: ours 189.67 us, theirs 218.51 us (pairs: 1.10x  )

       writers  a second       p50       p99  a second       p50       p99
----------------------------------------------------------------------------
update       1      4575 217.34 us 312.27 us      4508 215.85 us 329.49 us      4520 217.75 us \
297.32 us      4640 213.33 us 292.09 us
                ours                 1.0x theirs
add        256    409201 549.69 us   2.00 ms      3469  73.10 ms  83.66 ms      4746  52.76 ms \
181.03 ms    190932   1.23 ms   2.23 ms
14 of 14 targets are met.
";

    #[test]
    fn rows_of_the_table_are_taken_and_other_lines_passed_over() {
        let rows = parse(PRINTED).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].operation.as_str(), rows[0].writers), ("update", 1));
        assert_eq!((rows[1].operation.as_str(), rows[1].writers), ("add", 256));
        let threads = rows[1].measured[3];
        assert_eq!(threads.rate, 190932.0);
        assert_eq!((threads.p50, threads.p99), (1.23, 2.23));
        assert_eq!(rows[0].measured[0].p50, 0.21734);
    }

    #[test]
    fn text_without_a_table_is_refused() {
        let cut = &PRINTED[..PRINTED.find("update ").unwrap() + 30];
        for text in ["", "14 of 14 targets are met.\n", cut] {
            let why = parse(text).unwrap_err();
            assert!(why.contains("make bench-writers"), "{why}");
        }
    }
}
