//! How threads keep out of each other's way, and how long they wait for each other. Nothing here
//! knows of files or of LMDB.

pub(crate) mod callbacks;
pub(crate) mod commit_queue;
pub(crate) mod deadline;
pub(crate) mod exclusion;
pub(crate) mod fifo;
pub(crate) mod lock_wait;
pub(crate) mod primitives;
pub(crate) mod process;
pub(crate) mod read_permits;
pub(crate) mod reader_queue;
pub(crate) mod writer_gate;
