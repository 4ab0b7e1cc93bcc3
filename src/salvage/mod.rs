//! Reading what is still whole in a file that LMDB cannot open safely.
//!
//! First the trees of the tables are followed as far as they lead. If they lead to every row that
//! the header's digest covers, and nothing shows that they are older than the last commit, that is
//! the store. Otherwise every page of the file is searched for records, which are recognised by
//! their checksums wherever they are. Pages that are not free hold current records; the others hold
//! those of removed devices as well, so a record whose id is known to be free is not taken from
//! them. Every record that no tree leads to is reported.

mod candidate;
mod deferred;
mod free;
mod orphan;
mod resolve;
mod root;
mod salvager;
mod source;
mod tree;
mod trust;

use std::fs::File;
use std::io;

use free::Free;
pub(crate) use resolve::Salvage;
use salvager::Salvager;
use source::Source;

/// Reads what is whole in a file that nobody changes, and keeps the first `limit` findings.
pub(crate) fn read(file: &File, limit: usize) -> io::Result<Salvage> {
    let source = Source::new(file)?;
    let free = Free::read(&source, source.in_force.as_ref());
    let found = Salvager::begin(&source, &free, limit).finish(&source, &free);
    match source.failure() {
        // Without its pages, nobody knows whether it is a store.
        Some(error) if found.is_nothing() => Err(error),
        _ => Ok(found),
    }
}
