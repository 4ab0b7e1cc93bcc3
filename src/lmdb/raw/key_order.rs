//! The order of keys: LMDB's own, byte for byte and then by length, told eight bytes at a time.
//!
//! A look-up among a thousand devices compares ten names, among a million twenty, and most of what
//! it costs is that. Names are short and begin alike: going along them in words is faster than a
//! call of `memcmp` for each.

use std::cmp::Ordering;

use lmdb::{Database, Environment, Transaction};
use lmdb_sys as ffi;

/// Has LMDB compare the keys of `db` in this way, from before the first row is looked at.
pub(crate) fn install(lmdb: &Environment, db: Database) -> lmdb::Result<()> {
    let txn = lmdb.begin_ro_txn()?;
    // SAFETY: the transaction runs and has `db`; the order is the one in which the rows lie.
    match unsafe { ffi::mdb_set_compare(txn.txn(), db.dbi(), Some(compare_keys)) } {
        ffi::MDB_SUCCESS => Ok(()),
        code => Err(lmdb::Error::from_err_code(code)),
    }
}

unsafe extern "C" fn compare_keys(a: *const ffi::MDB_val, b: *const ffi::MDB_val) -> libc::c_int {
    // SAFETY: LMDB passes two keys, which lie still while they are compared. One is in a page, and
    // the other is too, or is what LMDB was called with, which it refuses if it is empty:
    // neither is a null pointer.
    let (a, b) = unsafe { (key(&*a), key(&*b)) };
    compare(a, b) as libc::c_int
}

/// # Safety
/// `val` tells of bytes that lie still for as long as the slice is used.
#[inline]
unsafe fn key<'a>(val: &ffi::MDB_val) -> &'a [u8] {
    // SAFETY: says the caller.
    unsafe { std::slice::from_raw_parts(val.mv_data.cast::<u8>(), val.mv_size) }
}

#[inline]
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.len().min(b.len());
    let (x, y) = (&a[..common], &b[..common]);
    let (Some(x_end), Some(y_end)) = (x.last_chunk(), y.last_chunk()) else {
        return of_short(a, b);
    };
    for (x, y) in x.as_chunks().0.iter().zip(y.as_chunks().0) {
        if x != y {
            return of_different(*x, *y);
        }
    }
    // Up to seven bytes are left. The last eight that both have overlap with what was found equal.
    match x_end == y_end {
        true => a.len().cmp(&b.len()),
        false => of_different(*x_end, *y_end),
    }
}

#[inline]
fn of_different(x: [u8; 8], y: [u8; 8]) -> Ordering {
    match u64::from_be_bytes(x) < u64::from_be_bytes(y) {
        true => Ordering::Less,
        false => Ordering::Greater,
    }
}

/// Where one of them is shorter than a word; apart, so that what names take is short.
#[inline(never)]
fn of_short(a: &[u8], b: &[u8]) -> Ordering {
    a.cmp(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of keys over two letters that agree up to some place, around the lengths of one
    /// and two words.
    #[test]
    fn it_is_the_order_of_slices() {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for len in 0..=20 {
            keys.push(vec![b'a'; len]);
            for at in 0..len {
                for other in [0, b'b', 0xff] {
                    let mut key = vec![b'a'; len];
                    key[at] = other;
                    keys.push(key);
                }
            }
        }
        for a in &keys {
            for b in &keys {
                assert_eq!(compare(a, b), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
