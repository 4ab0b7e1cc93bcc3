//! The running digest: an order-independent hash of all rows.
//!
//! A commit subtracts the hashes of the rows that it removes from the sum and adds those of the
//! rows that it writes. Recomputed from the rows, the sum shows what no single row's checksum can:
//! lost rows, and rows that went back to an older content, which is sound in itself.

use xxhash_rust::xxh3::{xxh3_128_with_seed, xxh3_64_with_seed};

use crate::format::table::Table;

/// The hash of a row: XXH3-128 of the value, seeded with XXH3-64 of the key, seeded with the table.
pub(crate) fn row_hash(table: Table, key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64_with_seed(key, table as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_key_and_value_each_change_the_hash() {
        let base = row_hash(Table::Devices, b"ab", b"cd");
        for other in [
            row_hash(Table::Ids, b"ab", b"cd"),
            row_hash(Table::Devices, b"abc", b"d"),
            row_hash(Table::Devices, b"a", b"bcd"),
            row_hash(Table::Devices, b"ab", b"ce"),
        ] {
            assert_ne!(base, other);
        }
    }

    /// The hash is part of the file format: every release of the hash crate must give this value.
    #[test]
    fn hash_is_the_one_that_the_format_was_fixed_with() {
        let fixed = 0xaec2371f_d7653a27_7660db75_0c09665f_u128;
        assert_eq!(row_hash(Table::Devices, b"ab", b"cd"), fixed);
    }
}
