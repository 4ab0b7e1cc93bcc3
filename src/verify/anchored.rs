//! Which commit is in force in a file with anchors: where commits were deferred when the power was
//! cut, or the process killed.
//!
//! The pages of the commits that have an anchor, and of all between them, are written over by
//! nobody. So a later commit can be compared with either, however many were made in between.

use std::io;

use crate::verify::anchor::{self, Anchor};
use crate::verify::bytes::ReadAt;
use crate::verify::compare::{compare, Comparison};
use crate::verify::flush_mark::FlushMark;
use crate::verify::meta::{Meta, Metas, MAP_SIZE_AT};
use crate::verify::undo::{InForce, Undo, Unfinished};
use crate::verify::violation::{Kind, Violation};

/// A commit that may be in force, and the fields of its meta page.
#[derive(Clone, Copy, PartialEq)]
struct Candidate {
    meta: Meta,
    fields: Anchor,
}

/// The commit that is in force in a file with these anchors, of which there is at least one.
pub(super) fn in_force(
    source: &dyn ReadAt,
    metas: &Metas,
    anchors: &[Anchor],
) -> io::Result<Result<InForce, Kind>> {
    let slots = match slots(metas) {
        Ok(slots) => slots,
        Err(kind) => return Ok(Err(kind)),
    };
    let mut violation = None;
    let (base, torn) = match base(source, metas, anchors, &slots)? {
        Ok(base) => (base, None),
        Err((base, torn, found)) => {
            violation = Some(found);
            (base, Some(torn))
        }
    };
    let flushed = metas.flush_mark().flushed;
    let mut newer: Vec<_> = slots
        .iter()
        .filter(|slot| slot.meta.txnid > base.meta.txnid && Some(**slot) != torn)
        .collect();
    newer.sort_by_key(|slot| std::cmp::Reverse(slot.meta.txnid));
    let mut chosen = base;
    for slot in newer {
        // One that the mark names was flushed as a whole: what is wrong with it is damage.
        let outcome = match slot.meta.txnid <= flushed {
            true => Comparison::Whole,
            false => {
                let expected = metas.expected(slot.meta.txnid);
                compare(source, &base.meta, &slot.meta, expected)?
            }
        };
        match outcome {
            Comparison::Whole | Comparison::Unclear => {
                chosen = *slot;
                break;
            }
            Comparison::Torn(found) => violation = violation.or(Some(found)),
        }
    }
    let undo = patches(&chosen, &slots, metas, anchors);
    let is_later = |slot: &Candidate| slot.meta.txnid > chosen.meta.txnid;
    let unfinished = (!undo.is_empty()).then_some(Unfinished {
        violation,
        is_shown: slots.iter().any(is_later),
        undo,
    });
    Ok(Ok(InForce {
        meta: chosen.meta,
        unfinished,
        is_deferred: true,
    }))
}

/// What the meta pages say.
fn slots(metas: &Metas) -> Result<[Candidate; 2], Kind> {
    let [first, second] = metas.parse();
    let candidate = |meta, page: &[u8]| {
        let fields = Anchor::of_page(page, 0).ok_or(Kind::MetaShort)?;
        Ok(Candidate { meta, fields })
    };
    Ok([
        candidate(first?, &metas.first)?,
        candidate(second?, &metas.second)?,
    ])
}

/// The newest commit that has an anchor and was flushed. If the newest anchor's was not, the one
/// before it, with that and what shows it.
fn base(
    source: &dyn ReadAt,
    metas: &Metas,
    anchors: &[Anchor],
    slots: &[Candidate; 2],
) -> io::Result<Result<Candidate, (Candidate, Candidate, Violation)>> {
    let candidate = |anchor: &Anchor| Candidate {
        meta: anchor.meta(),
        fields: *anchor,
    };
    let anchored: Vec<_> = anchors.iter().map(candidate).collect();
    let newest = *anchored
        .iter()
        .max_by_key(|each| each.meta.txnid)
        .unwrap_or(&slots[0]);
    let commit = newest.meta.txnid;
    let flushed = last_flushed(metas).filter(|flushed| *flushed < commit);
    let mut known = anchored.iter().chain(slots);
    let Some(older) = known.find(|each| Some(each.meta.txnid) == flushed) else {
        return Ok(Ok(newest));
    };
    let expected = metas.expected(commit);
    Ok(
        match compare(source, &older.meta, &newest.meta, expected)? {
            Comparison::Whole | Comparison::Unclear => Ok(newest),
            Comparison::Torn(found) => Err((*older, newest, found)),
        },
    )
}

/// The number of the last commit that the anchors show to have been flushed; `None` without any.
/// The mark can be of an earlier one: it has no flush of its own, so a power cut can leave an old
/// one.
///
/// The commit after the newest anchor's is begun once the flush of that has ended. That flush was
/// begun once the commit before was on the disk: the older anchor's, or the one right before.
pub(crate) fn last_flushed(metas: &Metas) -> Option<u64> {
    let commits = metas.anchors();
    let commits = commits.iter().map(Anchor::commit);
    let newest = commits.clone().max()?;
    let mut slots = metas.parse().into_iter().flatten();
    if metas.flush_mark().flushed >= newest || slots.any(|slot| slot.txnid > newest) {
        return Some(newest);
    }
    let older = commits.min().filter(|older| *older < newest);
    older.or_else(|| newest.checked_sub(1))
}

/// What puts a commit in force: its fields in its own meta page, a number before its own in the
/// other, and its anchor in the place of one of a later commit.
fn patches(
    chosen: &Candidate,
    slots: &[Candidate; 2],
    metas: &Metas,
    anchors: &[Anchor],
) -> Vec<Undo> {
    let page_size = metas.page_size;
    let commit = chosen.meta.txnid;
    let lower = commit.saturating_sub(1);
    let patch = |number: u64| Undo {
        offset: Meta::home(number) as u64 * page_size + MAP_SIZE_AT as u64,
        bytes: chosen.fields.numbered(number),
    };
    let mut patches = Vec::new();
    let home = &slots[Meta::home(commit)];
    if (home.meta, home.fields.numbered(commit)) != (chosen.meta, chosen.fields.numbered(commit)) {
        patches.push(patch(commit));
    }
    // An anchor of a commit that is not in force must not be left by itself.
    let undone = [&metas.first, &metas.second].map(|page| {
        let anchor = Anchor::parse(page);
        anchor.is_some_and(|anchor| anchor.commit() > commit)
    });
    for place in (0..2).filter(|place| undone[*place]) {
        patches.push(Undo {
            offset: anchor::offset(place, page_size),
            bytes: chosen.fields.encode().to_vec(),
        });
    }
    // Whatever is undone, pages of the next commit's number may be on the disk.
    if !patches.is_empty() || slots[Meta::home(lower)].meta.txnid != lower {
        patches.push(patch(lower).with_mark(lost(metas, anchors, commit)));
    }
    patches
}

/// The mark in the meta page of the commit after this one, by which no commit that has left pages
/// on the disk can come back: see [`FlushMark::skipped`].
pub(crate) fn lost(metas: &Metas, anchors: &[Anchor], commit: u64) -> FlushMark {
    let windows = anchors.iter().map(|anchor| anchor.window);
    // A commit whose flush fails comes after all of them.
    let most = windows.max().unwrap_or(0).saturating_add(1);
    let next = commit.saturating_add(1);
    let skipped = metas.skipped(next).saturating_add(most);
    FlushMark::of_failed(next, skipped)
}
