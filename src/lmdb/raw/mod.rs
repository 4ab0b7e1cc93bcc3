//! All calls of LMDB, behind types that are safe to use.
//!
//! lmdb-rkv opens, sizes, flushes and closes the environment, and names LMDB's errors. Its
//! transactions are not used: they borrow the environment, so that none can be kept for the next
//! read or be moved to another thread, they have no comparison of keys of one's own, and their
//! iterators take an error for the end of the table. Those here call lmdb-rkv-sys.
//!
//! What keeps a pointer into the memory map valid: a [`ReadTxn`] keeps its [`Environment`] open,
//! a [`WriteTxn`] borrows it, and a pooled [`Read`] keeps its [`Handle`] from being
//! [`Quiesced`], which alone closes an environment or moves its map.
#![allow(unsafe_code)]

mod address_space;
mod counters;
mod cursor;
mod environment;
mod error;
mod handle;
mod in_place;
mod key_order;
mod lock_watch;
mod pins;
mod read;
mod release;
mod shared_map;
mod shared_state;
mod value;
mod write;

pub(crate) use address_space::{address_space_beside, address_space_for, fitting_map_size};
pub(crate) use counters::SharedCounters;
pub(crate) use environment::{Environment, Flushes, Settings};
pub(crate) use error::{into_error, LmdbError, LmdbResult, NotBegun};
pub(crate) use handle::{Handle, Quiesced};
pub(crate) use in_place::{copies_on_write, is_overwritten_in_place, overwrite_in_place};
pub(crate) use lock_watch::LockWatch;
pub(crate) use read::{Move, Order, ReadTxn, RowCursor, Rows};
pub(crate) use release::{check_release, version};
pub(crate) use shared_map::lacks_shared_maps;
pub(crate) use shared_state::{set_newest_in_lock_file, MetaPages};
pub(crate) use value::{Database, Row};
pub(crate) use write::{PutMode, WriteTxn};
