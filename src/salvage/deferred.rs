//! Which commits may be in force in a file with anchors: commits were deferred when the power was
//! cut, or the process killed, so pages of the later ones are there in part.
//!
//! The rule is that of opening a store (`verify/anchored.rs`), which takes a later commit than the
//! last that was flushed if it is whole beside that one. Here either may be damaged besides. So
//! what cannot be compared is not believed, and each commit that may be in force is judged by its
//! own rows as well.

use std::io;

use crate::verify::anchored::last_flushed;
use crate::verify::bytes::ReadAt;
use crate::verify::{self, Comparison, Meta, Metas};

/// The commits that may be in force.
pub(crate) struct Standing {
    /// The one that is, by the rule.
    pub in_force: Meta,
    /// What shows that later ones were left half written, if any were.
    pub left_out: Option<String>,
    /// The others, the newest first.
    pub others: Vec<Other>,
}

/// A commit that may be in force as well.
pub(crate) struct Other {
    pub meta: Meta,
    /// Whether no later one was flushed.
    pub has_all_flushed: bool,
}

impl Standing {
    /// Looks at the meta pages and the anchors. `None` if there are not two anchors: then none was
    /// made, or they were being removed, or one is damaged, which may have been the newer.
    pub fn of(source: &dyn ReadAt, metas: &Metas) -> io::Result<Option<Standing>> {
        let anchors: Vec<Meta> = metas.anchors().iter().map(|anchor| anchor.meta()).collect();
        let [first, second] = anchors[..] else {
            return Ok(None);
        };
        let newest = match first.txnid < second.txnid {
            true => second,
            false => first,
        };
        let mut standing = match verify::in_force(source, metas)? {
            Ok(found) => {
                let violation = found.unfinished.and_then(|unfinished| unfinished.violation);
                Standing {
                    in_force: found.meta,
                    left_out: violation.map(|violation| violation.to_string()),
                    others: Vec::new(),
                }
            }
            Err(kind) => Standing {
                in_force: newest,
                left_out: Some(kind.to_string()),
                others: Vec::new(),
            },
        };
        let later = standing.in_force;
        if later.txnid > newest.txnid {
            let expected = metas.expected(later.txnid);
            let compared = verify::compare(source, &newest, &later, expected)?;
            if !matches!(compared, Comparison::Whole) {
                standing.in_force = newest;
                standing.left_out = Some("it cannot be compared with this one".to_owned());
            }
        }
        // None before it is in force.
        let marked = metas.flush_mark().flushed;
        let least = last_flushed(metas).map_or(marked, |commit| commit.max(marked));
        let slots = metas.parse().into_iter().flatten();
        let mut all: Vec<Meta> = slots.chain(anchors).collect();
        all.retain(|meta| meta.txnid >= least && *meta != standing.in_force);
        all.sort_by_key(|meta| std::cmp::Reverse(meta.txnid));
        all.dedup();
        let other = |meta: Meta| Other {
            meta,
            has_all_flushed: meta.txnid >= newest.txnid,
        };
        standing.others = all.into_iter().map(other).collect();
        Ok(Some(standing))
    }
}
