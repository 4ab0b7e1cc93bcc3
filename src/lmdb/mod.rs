//! One open store file over LMDB: its transactions, its map, and the locks around them.
//!
//! Above this module there are tables, keys, values and snapshots; `raw` alone calls LMDB, and
//! shows no pointer.

mod after_failure;
mod bounds;
mod claim;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod create;
mod deferral;
mod deferred;
mod detach;
pub(crate) mod env;
mod flush;
mod flusher;
mod free_list;
mod grow;
mod lock_blocks;
mod lost_locks;
pub(crate) mod one_flush;
mod open;
mod open_tables;
mod preallocate;
mod private_copy;
mod quiesce;
pub(crate) mod raw;
pub(crate) mod read;
mod reader_slots;
mod recover;
mod reopen;
pub(crate) mod snapshot;
mod stats;
pub(crate) mod write;
