//! What a verification finds: in which structure, on which page, and what is wrong there.

use std::fmt;

use crate::verify::meta::MetaFlaw;
use crate::verify::page::Flaw;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub place: Place,
    /// `None` for what is wrong with the structure as a whole.
    pub page: Option<u64>,
    pub problem: Problem,
}

/// The structures of a store's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Meta,
    /// The unnamed database: the header row and the records of the others.
    Root,
    Devices,
    Ids,
    FreeList,
    File,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A page is not as a page has to be.
    Page(Flaw),
    Meta(MetaFlaw),
    /// The two meta pages are not of two commits, one after the other, each in its place.
    MetaOrder {
        first: u64,
        second: u64,
    },
    /// The file ends before its last page.
    CutShort {
        len: u64,
        needed: u64,
    },
    /// It points to a page that the file does not have.
    Outside {
        target: u64,
        last: u64,
    },
    /// It is in use already, where it is or somewhere else.
    Twice,
    /// Its keys are not between those that the page above it names.
    Between,
    /// It is a leaf where a branch has to be, or the other way around.
    Depth,
    /// The structure's record has flags that it must not have.
    Flags(u16),
    /// The structure's record says something else than what was found.
    Count {
        what: &'static str,
        said: u64,
        found: u64,
    },
    /// A value on pages of its own is longer than those, or than a value may be.
    Overflow {
        len: u64,
        pages: u64,
    },
    /// A row's value is not of the kind that its key stands for.
    Kind {
        node: usize,
    },
    /// The store's own rows: one that has to be there is missing, or another is there.
    Rows(String),
    /// A list of free pages is not what LMDB writes.
    List {
        txnid: u64,
        why: &'static str,
    },
    /// A list of free pages has one that is in use, or that another list has.
    NotFree {
        txnid: u64,
        target: u64,
    },
    /// A row does not decode, or does not go together with the others.
    Row(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Meta => "meta pages",
            Place::Root => "unnamed database",
            Place::Devices => "database \"devices\"",
            Place::Ids => "database \"ids\"",
            Place::FreeList => "free list",
            Place::File => "file",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, self.page) {
            // These tell what they are of by themselves.
            (Problem::Row(what) | Problem::Rows(what), None) => f.write_str(what),
            (Problem::CutShort { len, needed }, _) => {
                write!(f, "the file is cut short: it has {len} bytes of {needed}")
            }
            (problem, Some(page)) => write!(f, "{}, page {page}: {problem}", self.place),
            (problem, None) => write!(f, "{}: {problem}", self.place),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Page(flaw) => write!(f, "{flaw}"),
            Problem::Meta(flaw) => write!(f, "it {flaw}"),
            Problem::MetaOrder { first, second } => {
                write!(f, "they stand for commits {first} and {second}")
            }
            Problem::CutShort { len, needed } => write!(f, "it has {len} bytes of {needed}"),
            Problem::Outside { target, last } => {
                write!(f, "it points to page {target}, and the last is {last}")
            }
            Problem::Twice => write!(f, "it is in use twice"),
            Problem::Between => write!(f, "its keys are not where they belong"),
            Problem::Depth => write!(f, "it is not of the kind that its place in the tree is for"),
            Problem::Flags(flags) => write!(f, "its flags are {flags:#06x}"),
            Problem::Count { what, said, found } => {
                write!(f, "its record says {said} {what}, and {found} are there")
            }
            Problem::Overflow { len, pages } => {
                write!(f, "a value of {len} bytes has {pages} pages there")
            }
            Problem::Kind { node } => write!(f, "the value of node {node} is of the wrong kind"),
            Problem::List { txnid, why } => write!(f, "the list of commit {txnid} {why}"),
            Problem::NotFree { txnid, target } => write!(
                f,
                "the list of commit {txnid} has page {target}, which is in use or free already"
            ),
            Problem::Row(what) | Problem::Rows(what) => f.write_str(what),
        }
    }
}

/// Findings, as many as are kept, and how many there were.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub kept: Vec<Finding>,
    pub total: u64,
}

impl Findings {
    /// More of them tell nobody more.
    const MOST: usize = 100;

    pub fn add(&mut self, place: Place, page: Option<u64>, problem: Problem) {
        self.total += 1;
        if self.kept.len() < Self::MOST {
            self.kept.push(Finding {
                place,
                page,
                problem,
            });
        }
    }

    pub fn append(&mut self, other: Findings) {
        self.total += other.total;
        let room = Self::MOST - self.kept.len();
        self.kept.extend(other.kept.into_iter().take(room));
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.kept.first() else {
            return write!(f, "nothing is wrong");
        };
        write!(f, "{first}")?;
        match self.total - 1 {
            0 => Ok(()),
            1 => write!(f, " (and one thing more is wrong)"),
            more => write!(f, " (and {more} things more are wrong)"),
        }
    }
}
