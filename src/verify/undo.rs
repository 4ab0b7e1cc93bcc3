//! The commit that is in force, and the bytes that put it there.

use crate::verify::flush_mark::{self, FlushMark};
use crate::verify::meta::{Meta, Metas, MAP_SIZE_AT, TXNID_AT};
use crate::verify::violation::Violation;

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
    /// Whether a meta page shows it, so that processes may use it, and not an anchor alone.
    pub is_shown: bool,
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

    /// These fields of a meta page, with this mark behind them.
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
