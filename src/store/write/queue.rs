//! The store's commit queue: changes in, what each has done out.

use crate::error::{Error, Result};
use crate::store::write::op::{Applied, Change};
use crate::sync::commit_queue::{Lead, Queue};

/// A change on its way to a commit, and whether that may be left unflushed for it.
pub(crate) struct Submitted {
    pub change: Change,
    pub deferred: bool,
}

/// Changes on their way to a commit.
pub(crate) type CommitQueue = Queue<Submitted, Result<Applied>>;
pub(crate) type CommitLead<'q> = Lead<'q, Submitted, Result<Applied>>;

pub(crate) fn new_queue() -> CommitQueue {
    Queue::new(|| {
        Err(Error::Internal {
            what: "the thread that committed for this one panicked",
        })
    })
}
