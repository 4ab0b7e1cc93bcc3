//! The order of keys: LMDB's own, by bytes and then by length, found eight bytes at a time.
//!
//! A look-up among a thousand devices compares ten names, among a million twenty, and most of what
//! it costs is that. Names are short and begin alike: comparing them in words is faster than a call
//! of `memcmp` for each. `pm_get_device / raw get` of `make bench` needs it.

use lmdb_sys as ffi;

use crate::lmdb::raw::environment::Environment;
use crate::lmdb::raw::error::LmdbResult;
use crate::lmdb::raw::value::{check, Database};

/// Bytes that are compared at once.
const WORD: usize = size_of::<u64>();

impl Environment {
    /// Has LMDB compare the keys of `database` in this way, from before the first row is looked at.
    pub fn order_keys(&self, database: Database) -> LmdbResult<()> {
        let txn = self.begin(ffi::MDB_RDONLY)?.as_ptr();
        // SAFETY: the transaction runs and has the database; the order is the one in which the rows
        // lie.
        let code = unsafe { ffi::mdb_set_compare(txn, database.0, Some(compare_keys)) };
        // SAFETY: the transaction runs, and is not used again.
        unsafe { ffi::mdb_txn_abort(txn) };
        check(code)
    }
}

unsafe extern "C" fn compare_keys(a: *const ffi::MDB_val, b: *const ffi::MDB_val) -> libc::c_int {
    // SAFETY: LMDB passes two keys, which stay in place while they are compared. One is in a page,
    // and the other is too, or is what LMDB was called with, which it refuses if it is empty:
    // neither is a null pointer.
    let (a, b) = unsafe { (key(&*a), key(&*b)) };
    compare(a, b)
}

/// # Safety
/// `value` describes bytes that stay in place for as long as the slice is used.
#[inline]
unsafe fn key<'a>(value: &ffi::MDB_val) -> &'a [u8] {
    // SAFETY: the caller keeps the bytes in place.
    unsafe { std::slice::from_raw_parts(value.mv_data.cast::<u8>(), value.mv_size) }
}

#[inline]
fn compare(a: &[u8], b: &[u8]) -> libc::c_int {
    let Some(last) = a.len().min(b.len()).checked_sub(WORD) else {
        return of_short(a, b);
    };
    // SAFETY: `at` is at most `last`, where both keys have a word left.
    let words = |at: usize| unsafe { (word(a, at), word(b, at)) };
    let mut at = 0;
    while at + WORD < last {
        let (x, y) = words(at);
        if x != y {
            return of_different(x, y);
        }
        let (x, y) = words(at + WORD);
        if x != y {
            return of_different(x, y);
        }
        at += 2 * WORD;
    }
    if at < last {
        let (x, y) = words(at);
        if x != y {
            return of_different(x, y);
        }
    }
    // Up to eight bytes are left. The last word that both have overlaps with what was found equal.
    let (x, y) = words(last);
    match x == y {
        true => a.len().cmp(&b.len()) as libc::c_int,
        false => of_different(x, y),
    }
}

/// The word at an offset, as it lies there.
///
/// # Safety
/// The key has a word there.
#[inline]
unsafe fn word(key: &[u8], at: usize) -> u64 {
    // SAFETY: the eight bytes are the key's, and any bytes are a number.
    unsafe { key.as_ptr().add(at).cast::<u64>().read_unaligned() }
}

#[inline]
fn of_different(x: u64, y: u64) -> libc::c_int {
    match u64::from_be(x) < u64::from_be(y) {
        true => -1,
        false => 1,
    }
}

/// Compares keys of which one is shorter than a word; not inlined, so that the code for names stays
/// short.
#[inline(never)]
fn of_short(a: &[u8], b: &[u8]) -> libc::c_int {
    a.cmp(b) as libc::c_int
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of keys over a few letters that agree up to some position, around the lengths of
    /// one to four words.
    #[test]
    fn keys_compare_as_slices_do() {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for len in 0..=36 {
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
                assert_eq!(compare(a, b).cmp(&0), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
