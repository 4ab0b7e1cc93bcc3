//! The store's commit queue: operations in, what each has written out.

use crate::error::{Error, Result};
use crate::store::write::apply::Written;
use crate::store::write::op::OwnedOp;
use crate::sync::commit_queue::{Lead, Queue};

/// Operations on their way to a commit.
pub(crate) type CommitQueue = Queue<OwnedOp, Result<Written>>;
pub(crate) type CommitLead<'q> = Lead<'q, OwnedOp, Result<Written>>;

pub(crate) fn new_queue() -> CommitQueue {
    Queue::new(|| {
        Err(Error::Internal {
            what: "the thread that committed for this one panicked",
        })
    })
}
