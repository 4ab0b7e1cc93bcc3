//! Whether a file is a sound store. It is read with plain reads and nothing in it is trusted,
//! because LMDB follows every number that it finds.
//!
//! [`head`] finds out what kind of file it is before LMDB opens it. [`Report`] then checks one
//! snapshot of it, from the meta page to the rows, before LMDB uses the first of its pages.

pub(crate) mod anchor;
pub(crate) mod anchored;
pub(crate) mod announcement;
mod branches;
pub(crate) mod bytes;
mod compare;
pub(crate) mod evidence;
pub(crate) mod flush_mark;
mod free;
pub(crate) mod head;
pub(crate) mod image;
mod keys;
pub(crate) mod meta;
pub(crate) mod newest;
pub(crate) mod page;
mod report;
mod rows;
mod space;
mod structure;
mod tree;
pub(crate) mod undo;
mod violation;

pub(crate) use compare::{compare, written_pages, Comparison};
pub(crate) use meta::{Meta, Metas};
pub(crate) use newest::in_force;
pub(crate) use report::Report;
pub(crate) use structure::{newest as newest_meta, Level};
pub(crate) use undo::Undo;
