//! Which commit is in force: the newest, unless a power cut has left it half written.

use std::io;

use crate::verify::anchored;
use crate::verify::bytes::ReadAt;
use crate::verify::compare::{compare, Comparison};
use crate::verify::meta::Metas;
use crate::verify::structure;
use crate::verify::undo::{InForce, Undo, Unfinished};
use crate::verify::violation::Kind;

/// LMDB's number of the newest commit, if a meta page is one.
pub(crate) fn number(metas: &Metas) -> u64 {
    let numbers = metas.parse().map(|meta| meta.map_or(0, |meta| meta.txnid));
    numbers.into_iter().max().unwrap_or(0)
}

/// The newest commit, of a file that a process writes to: no power cut has left it as it is.
pub(crate) fn as_written(metas: &Metas) -> std::result::Result<InForce, Kind> {
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
    let skipped = metas.skipped(meta.txnid);
    Ok(Ok(match compare(source, &before, &meta, skipped)? {
        Comparison::Whole | Comparison::Unclear => newest,
        Comparison::Torn(violation) => InForce {
            meta: before,
            unfinished: Some(Unfinished {
                violation: Some(violation),
                undo: vec![undo],
            }),
            is_deferred: false,
        },
    }))
}
