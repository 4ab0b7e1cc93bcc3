//! How much of a file is verified.

/// How much of a file a verification reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The meta pages, the unnamed database, the free list, and the file's length.
    Quick,
    /// Every page, and no row: whether LMDB can read it, whatever the rows say.
    Structure,
    /// Every page and every row.
    Full,
}
