//! Is this file a sound store? What is looked at before LMDB may touch the file, and what the rows must add up to.

pub(crate) mod head;
pub(crate) mod rows;
