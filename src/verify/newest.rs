//! Which commit is in force: the newest, unless a power cut has left it half written.

use std::io;

use crate::verify::anchored;
use crate::verify::bytes::ReadAt;
use crate::verify::compare::{compare, Comparison};
use crate::verify::flush_mark::{self, FlushMark};
use crate::verify::meta::{Meta, Metas, MAP_SIZE_AT, TXNID_AT};
use crate::verify::structure;
use crate::verify::violation::{Kind, Violation};

/// The commit that is in force.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub meta: Meta,
    /// The commit after it, if that is not whole.
    pub unfinished: Option<Unfinished>,
    /// Whether there are anchors: commits are deferred, or were when the power was cut.
    pub is_deferred: bool,
}

/// What was being written when the power was cut.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished {
    /// What shows that; `None` if only the meta page of the commit before it is missing.
    pub violation: Option<Violation>,
    pub undo: Vec<Undo>,
}

/// Bytes that put an earlier commit than the newest in force.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

impl Undo {
    /// Puts it into the page at this offset, if it belongs there.
    pub fn apply(&self, page_at: u64, page: &mut [u8]) {
        let at = self.offset.checked_sub(page_at).map(|at| at as usize);
        if let Some(there) = at.and_then(|at| page.get_mut(at..at + self.bytes.len())) {
            there.copy_from_slice(&self.bytes);
        }
    }

    /// Undoes the newest commit; `None` if the one before it is not there.
    pub fn of_newest(metas: &Metas, newest: &Meta) -> Option<Undo> {
        let before = metas.of_commit(newest.txnid.checked_sub(1)?)?;
        Undo::of_next(metas, &before)
    }

    /// The same, with this mark.
    pub fn with_mark(mut self, mark: FlushMark) -> Undo {
        self.bytes.truncate(TXNID_AT + 8 - MAP_SIZE_AT);
        self.bytes.resize(flush_mark::AT - MAP_SIZE_AT, 0);
        self.bytes.extend(mark.encode());
        self
    }

    /// Undoes what the commit after `commit` has written to its meta page: that gets the content of
    /// the other, with a lower number, and a mark that says so. All of it is in one sector.
    pub fn of_next(metas: &Metas, commit: &Meta) -> Option<Undo> {
        let page = match Meta::home(commit.txnid) {
            0 => &metas.first,
            _ => &metas.second,
        };
        let next = commit.txnid + 1;
        let mark = FlushMark::of_failed(next, metas.skipped(next) + 1);
        let mut bytes = page.get(..TXNID_AT + 8)?.to_vec();
        // A file of one commit has its number in both meta pages.
        let lower = commit.txnid.saturating_sub(1);
        bytes[TXNID_AT..].copy_from_slice(&lower.to_le_bytes());
        bytes.resize(flush_mark::AT, 0);
        bytes.extend(mark.encode());
        Some(Undo {
            offset: Meta::home(mark.failed) as u64 * metas.page_size + MAP_SIZE_AT as u64,
            bytes: bytes.split_off(MAP_SIZE_AT),
        })
    }
}

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
