//! Is this file a sound store? What is looked at before LMDB may touch the file, and what the rows must add up to.

// The whole of these two is for whoever walks the tree without LMDB.
#[allow(dead_code)]
pub(crate) mod bytes;
pub(crate) mod head;
#[allow(dead_code)]
pub(crate) mod page;
pub(crate) mod rows;
