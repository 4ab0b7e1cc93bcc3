//! The running digest: an order-independent hash of all rows.
//!
//! A commit takes the hashes of the rows it removes out of the sum and puts those of the rows it
//! writes in. Recomputed from the rows, the sum shows what no single row's checksum can: rows that
//! were lost, and rows that went back to an older, in itself sound, content.

use xxhash_rust::xxh3::{xxh3_128_with_seed, xxh3_64_with_seed};

use crate::format::table::Table;

/// One row's share of the digest: XXH3-128 of the value, seeded with XXH3-64 of the key, seeded
/// with the table.
pub(crate) fn row(table: Table, key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64_with_seed(key, table as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_key_and_value_each_matter_and_do_not_run_together() {
        let base = row(Table::Devices, b"ab", b"cd");
        for other in [
            row(Table::Ids, b"ab", b"cd"),
            row(Table::Devices, b"abc", b"d"),
            row(Table::Devices, b"a", b"bcd"),
            row(Table::Devices, b"ab", b"ce"),
        ] {
            assert_ne!(base, other);
        }
    }

    /// The hash is part of the file format: another release of the hash crate must give the same.
    #[test]
    fn the_hash_is_the_one_that_the_format_was_fixed_with() {
        let fixed = 0xaec2371f_d7653a27_7660db75_0c09665f_u128;
        assert_eq!(row(Table::Devices, b"ab", b"cd"), fixed);
    }
}
