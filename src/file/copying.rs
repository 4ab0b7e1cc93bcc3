//! Copying a store's pages, from a file that may be in use.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::verify::bytes::ReadAt;
use crate::verify::meta::{LEN as META_LEN, TXNID_AT};

/// How much is copied at a time.
const CHUNK: usize = 1 << 20;

/// The memory through which a file is copied.
pub(crate) fn chunk() -> Vec<u8> {
    vec![0; CHUNK]
}

/// Reads a range of the file at `path` and gives it to `write`, with the offset of each part.
pub(crate) fn copy_range(
    from: &(impl ReadAt + ?Sized),
    path: &Path,
    range: Range<u64>,
    chunk: &mut [u8],
    write: impl Fn(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let wanted = (range.end - at).min(chunk.len() as u64) as usize;
        let got = match from.read_at(&mut chunk[..wanted], at) {
            Ok(0) => {
                let end = range.end;
                let what = format!("the file ends at byte {at} of {end}");
                return Err(Error::corrupt(what).at(path));
            }
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("reading the file", path, e)),
        };
        write(&chunk[..got], at)?;
        at += got as u64;
    }
    Ok(())
}

/// Writes the meta pages of a copy, last, so that a half copy is no store. `page` is the meta page
/// of the copied commit, or its beginning. The other one is as of the commit before, which makes
/// this one the newest, and has the same trees: should this one be damaged, it serves.
pub(crate) fn write_metas(
    mut page: Vec<u8>,
    commit: u64,
    page_size: u64,
    write: impl Fn(&[u8], u64) -> Result<()>,
) -> Result<()> {
    // What a store notes there of flushes is no part of a copy.
    page[META_LEN..].fill(0);
    for (commit, number) in [(commit, commit & 1), (commit.wrapping_sub(1), !commit & 1)] {
        page[..8].copy_from_slice(&number.to_le_bytes());
        page[TXNID_AT..][..8].copy_from_slice(&commit.to_le_bytes());
        write(&page, number * page_size)?;
    }
    Ok(())
}
