//! Which commit is in force: the newest, unless a power cut has left it half written.

use std::io;

use crate::verify::anchored;
use crate::verify::bytes::ReadAt;
use crate::verify::compare::{compare, Comparison};
use crate::verify::meta::Metas;
use crate::verify::structure;
use crate::verify::undo::{InForce, Undo, Unfinished};
use crate::verify::violation::Kind;

/// Reads a file that others may write to meanwhile, again and again until what was read is of one
/// commit.
#[derive(Default)]
pub(crate) struct Probe {
    first_seen: Option<u64>,
}

impl Probe {
    /// The commit that is in force in a file whose meta pages are these.
    pub fn in_force(
        &mut self,
        source: &dyn ReadAt,
        metas: &Metas,
    ) -> io::Result<std::result::Result<InForce, Kind>> {
        let newest = number(metas);
        let first = *self.first_seen.get_or_insert(newest);
        // If the newest commit is not that of the first attempt, a process writes, and before its
        // first write it has undone what a power cut had left. To compare each newest commit could
        // take longer than that process pauses between two.
        match as_written(metas) {
            Ok(found) if newest > first => Ok(Ok(found)),
            // Or a process puts the commit of an anchor into one meta page after the other.
            _ => in_force(source, metas),
        }
    }
}

impl InForce {
    /// Whether what was read of this commit is whole, if these are the meta pages before and after
    /// that.
    ///
    /// LMDB takes for commit N the pages that commit N - 2 and earlier ones have freed. So the
    /// pages of commit T stay as they are until commit T + 2 is made, which writes its meta page
    /// over that of T.
    pub fn was_kept(&self, before: &Metas, after: &Metas) -> bool {
        match self.unfinished {
            // Nobody writes before a process has put it right.
            Some(_) => after == before,
            // The next commit of the number of one that was undone can have an equal meta page.
            None => {
                let commit = self.meta.txnid;
                after.of_commit(commit) == Some(self.meta)
                    && after.skipped(commit) == before.skipped(commit)
            }
        }
    }
}

/// LMDB's number of the newest commit, if a meta page is one.
fn number(metas: &Metas) -> u64 {
    let numbers = metas.parse().map(|meta| meta.map_or(0, |meta| meta.txnid));
    numbers.into_iter().max().unwrap_or(0)
}

/// The newest commit, of a file that a process writes to: no power cut has left it as it is.
fn as_written(metas: &Metas) -> std::result::Result<InForce, Kind> {
    Ok(InForce {
        meta: structure::newest(metas)?,
        unfinished: None,
        is_deferred: !metas.anchors().is_empty(),
    })
}

/// The commit that is in force in a file whose meta pages are these.
///
/// A commit that the flush mark names was flushed as a whole, so whatever is wrong with it is
/// damage. One that it does not name may have been cut off. Then nothing but its own pages is
/// wrong, and the commit before it was flushed.
pub(crate) fn in_force(
    source: &dyn ReadAt,
    metas: &Metas,
) -> io::Result<std::result::Result<InForce, Kind>> {
    let anchors = metas.anchors();
    if !anchors.is_empty() {
        return anchored::in_force(source, metas, &anchors);
    }
    let meta = match structure::newest(metas) {
        Ok(meta) => meta,
        Err(kind) => return Ok(Err(kind)),
    };
    let newest = InForce {
        meta,
        unfinished: None,
        is_deferred: false,
    };
    if metas.flush_mark().flushed >= meta.txnid {
        return Ok(Ok(newest));
    }
    let before = meta
        .txnid
        .checked_sub(1)
        .and_then(|txnid| metas.of_commit(txnid));
    let (Some(before), Some(undo)) = (before, Undo::of_newest(metas, &meta)) else {
        return Ok(Ok(newest));
    };
    let expected = metas.expected(meta.txnid);
    Ok(Ok(match compare(source, &before, &meta, expected)? {
        Comparison::Whole | Comparison::Unclear => newest,
        Comparison::Torn(violation) => InForce {
            meta: before,
            unfinished: Some(Unfinished {
                violation: Some(violation),
                is_shown: true,
                undo: vec![undo],
            }),
            is_deferred: false,
        },
    }))
}
