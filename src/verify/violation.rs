//! What a verification finds: where, and what is wrong there.

use std::{fmt, io};

use crate::format::table::Table;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub location: Location,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub structure: Structure,
    /// `None` for what is wrong with the structure as a whole.
    pub page: Option<u64>,
}

/// The structures of a store's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    Meta,
    /// The unnamed database: the header row and the records of the other databases.
    Root,
    Table(Table),
    FreeList,
    File,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The file ends before the page does.
    PageShort,
    /// The page holds the number of another page.
    PageNumber(u64),
    /// The flags of a page, or of a tree's record, are none that it can have.
    Flags(u16),
    /// The page is a branch page where only a leaf can be.
    NotALeaf,
    /// `lower` and `upper` are not within the page, or not in their order.
    Bounds { lower: u16, upper: u16 },
    /// The page has fewer nodes than a page of its kind.
    TooFewNodes(usize),
    /// The offset or the length of the node leads out of the page.
    NodeOutside(usize),
    /// The nodes overlap, or there is a gap between them, or one begins at an odd offset.
    Layout,
    /// The flags of the node are none that a row here can have.
    NodeFlags { node: usize, flags: u16 },
    /// The key of the node is empty or too long.
    KeyLength { node: usize, len: usize },
    /// The node is larger than LMDB keeps in a page.
    NodeTooLarge(usize),
    /// The key of the node is not greater than the one before it.
    KeyOrder(usize),
    /// The value of the node is of a kind that its tree does not hold.
    WrongValue { node: usize },

    /// The file ends before the meta page does.
    MetaShort,
    /// The page is not marked as a meta page.
    MetaOverwritten,
    /// The meta page is of another version of LMDB's format.
    MetaVersion(u32),
    /// No page has this size.
    PageSize(u64),
    /// The meta page has another page size than the file's pages.
    OtherPageSize { said: u64, expected: u64 },
    /// No file ends with this page.
    LastPage(u64),
    /// No store gets to this commit.
    Commit(u64),
    /// The root of one of the two trees is no page of the file.
    Root(u64),
    /// The two meta pages are not of two commits, one after the other, each in its slot.
    MetaOrder { first: u64, second: u64 },

    /// The file ends before its last page.
    CutShort { len: u64, needed: u64 },
    /// A pointer leads to a page that the file does not have.
    PageOutside { target: u64, last: u64 },
    /// The page is in use already, here or elsewhere.
    ReachedTwice,
    /// The keys of the page are not between those that the page above it names.
    KeysOutOfSpan,
    /// The page is a leaf where a branch page has to be, or the other way around.
    Depth,
    /// The structure's record counts something else than is there.
    Count {
        what: &'static str,
        recorded: u64,
        found: u64,
    },
    /// A value on overflow pages is longer than those, or has more of them than the file.
    Overflow { len: u64, pages: u64 },
    /// A list of free pages is not one that LMDB writes.
    FreeList { txnid: u64, why: &'static str },
    /// A list of free pages holds a page that is in use, or in another list.
    NotFree { txnid: u64, target: u64 },
    /// A row is missing, or does not decode, or contradicts the others.
    Row(String),
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Structure::Meta => "meta pages",
            Structure::Root => "unnamed database",
            Structure::Table(table) => return write!(f, "database \"{}\"", table.name()),
            Structure::FreeList => "free list",
            Structure::File => "file",
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.page {
            Some(page) => write!(f, "{}, page {page}", self.structure),
            None => write!(f, "{}", self.structure),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.location.page) {
            // The text names what it is about.
            (Kind::Row(what), None) => f.write_str(what),
            (Kind::CutShort { .. }, _) => write!(f, "the file is cut short: {}", self.kind),
            _ => write!(f, "{}: {}", self.location, self.kind),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::PageShort => write!(f, "the file ends before it"),
            Kind::PageNumber(number) => write!(f, "it says that it is page {number}"),
            Kind::Flags(flags) => write!(f, "its flags are {flags:#06x}"),
            Kind::NotALeaf => write!(f, "it is a branch page"),
            Kind::Bounds { lower, upper } => write!(f, "its bounds are {lower} and {upper}"),
            Kind::TooFewNodes(nodes) => write!(f, "it has {nodes} nodes"),
            Kind::NodeOutside(node) => write!(f, "node {node} reaches out of it"),
            Kind::Layout => write!(f, "its nodes overlap or leave gaps"),
            Kind::NodeFlags { node, flags } => {
                write!(f, "the flags of node {node} are {flags:#06x}")
            }
            Kind::KeyLength { node, len } => write!(f, "the key of node {node} has {len} bytes"),
            Kind::NodeTooLarge(node) => write!(f, "node {node} is larger than a node may be"),
            Kind::KeyOrder(node) => write!(f, "the key of node {node} is out of order"),
            Kind::WrongValue { node } => write!(f, "the value of node {node} is of the wrong kind"),
            Kind::MetaShort => write!(f, "it is cut short"),
            Kind::MetaOverwritten => write!(f, "it is overwritten"),
            Kind::MetaVersion(version) => write!(f, "it is of data format {version}"),
            Kind::PageSize(size) => write!(f, "it has an impossible page size, {size}"),
            Kind::OtherPageSize { said, expected } => {
                write!(
                    f,
                    "its page size is {said}, and the file's pages have {expected}"
                )
            }
            Kind::LastPage(page) => write!(f, "it has an impossible last page, {page}"),
            Kind::Commit(txnid) => write!(f, "it is of an impossible commit, {txnid}"),
            Kind::Root(root) => write!(f, "it points to page {root}, outside the file"),
            Kind::MetaOrder { first, second } => {
                write!(f, "they are of commits {first} and {second}")
            }
            Kind::CutShort { len, needed } => write!(f, "it has {len} bytes of {needed}"),
            Kind::PageOutside { target, last } => {
                write!(f, "it points to page {target}, and the last is {last}")
            }
            Kind::ReachedTwice => write!(f, "it is in use twice"),
            Kind::KeysOutOfSpan => write!(f, "its keys are not where they belong"),
            Kind::Depth => write!(
                f,
                "it is a leaf where a branch page belongs, or the other way around"
            ),
            Kind::Count {
                what,
                recorded,
                found,
            } => write!(
                f,
                "its record says {recorded} {what}, and {found} are there"
            ),
            Kind::Overflow { len, pages } => {
                write!(f, "a value of {len} bytes has {pages} pages there")
            }
            Kind::FreeList { txnid, why } => write!(f, "the list of commit {txnid} {why}"),
            Kind::NotFree { txnid, target } => write!(
                f,
                "the list of commit {txnid} has page {target}, which is in use or free already"
            ),
            Kind::Row(what) => f.write_str(what),
        }
    }
}

/// What ends a step of a verification early.
pub(crate) enum CheckError {
    Io(io::Error),
    Violation(Kind),
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> CheckError {
        CheckError::Io(error)
    }
}

impl From<Kind> for CheckError {
    fn from(kind: Kind) -> CheckError {
        CheckError::Violation(kind)
    }
}

/// The first violations, and how many there were.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    pub kept: Vec<Violation>,
    pub total: u64,
}

impl Violations {
    /// More than these help nobody.
    const MAX_KEPT: usize = 100;

    pub fn add(&mut self, structure: Structure, page: Option<u64>, kind: Kind) {
        self.total += 1;
        if self.kept.len() < Self::MAX_KEPT {
            let location = Location { structure, page };
            self.kept.push(Violation { location, kind });
        }
    }

    pub fn append(&mut self, other: Violations) {
        self.total += other.total;
        let room = Self::MAX_KEPT - self.kept.len();
        self.kept.extend(other.kept.into_iter().take(room));
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.kept.first() else {
            return write!(f, "nothing is wrong");
        };
        write!(f, "{first}")?;
        match self.total - 1 {
            0 => Ok(()),
            1 => write!(f, " (and one more violation)"),
            more => write!(f, " (and {more} more violations)"),
        }
    }
}
