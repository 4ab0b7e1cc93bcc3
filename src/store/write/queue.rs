//! The store's commit queue: changes in, what each has done out.

use crate::error::{Error, Result};
use crate::store::write::op::{Applied, Change};
use crate::sync::commit_queue::{Lead, Queue};

/// Changes on their way to a commit.
pub(crate) type CommitQueue = Queue<Change, Result<Applied>>;
pub(crate) type CommitLead<'q> = Lead<'q, Change, Result<Applied>>;

pub(crate) fn new_queue() -> CommitQueue {
    Queue::new(|| {
        Err(Error::Internal {
            what: "the thread that committed for this one panicked",
        })
    })
}
