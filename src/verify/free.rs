//! The free list: for each commit, the pages that it freed. A writer takes pages from it without
//! reading them, so a page that is in use must not be in it, and no page twice.

use crate::verify::bytes::u64_at;
use crate::verify::keys::Keys;
use crate::verify::page::{Row, Value};
use crate::verify::space::Space;
use crate::verify::tree::Rows;
use crate::verify::violation::{CheckError, Kind};

/// The lists of one snapshot.
pub(crate) struct FreeRows {
    /// The snapshot's commit.
    pub txnid: u64,
}

#[derive(Default)]
pub(crate) struct FreeTally {
    /// Pages that are free.
    pub pages: u64,
    /// The newest commit that freed any.
    pub newest: u64,
}

impl Rows for FreeRows {
    type Tally = FreeTally;
    const KEYS: Keys = Keys::Numbers;

    fn row(
        &self,
        space: &Space<'_>,
        tally: &mut FreeTally,
        row: Row<'_>,
    ) -> Result<(), CheckError> {
        let txnid = u64_at(row.key, 0);
        let wrong = |why| Err(Kind::FreeList { txnid, why }.into());
        // LMDB reads lists from commit 1 on, and takes pages from those before the oldest reader.
        if txnid == 0 || txnid > self.txnid {
            return wrong("is of a commit that never was");
        }
        tally.newest = tally.newest.max(txnid);
        let mut list = List::new(space, txnid);
        match row.value {
            Value::Here(words) => list.take(words, words.len())?,
            Value::Far { page, len } => {
                space.each_piece(page, len, |words| list.take(words, len))?
            }
            Value::Tree(_) => return wrong("is no list"),
        }
        tally.pages += list.end()?;
        Ok(())
    }
}

/// A list that is being read: its length, and then page numbers in descending order. Anything
/// behind those is ignored.
struct List<'a> {
    space: &'a Space<'a>,
    txnid: u64,
    /// How many page numbers are still to come, once the first word was read.
    left: Option<u64>,
    count: u64,
    before: u64,
}

impl<'a> List<'a> {
    fn new(space: &'a Space<'a>, txnid: u64) -> List<'a> {
        List {
            space,
            txnid,
            left: None,
            count: 0,
            before: u64::MAX,
        }
    }

    fn wrong(&self, why: &'static str) -> Kind {
        Kind::FreeList {
            txnid: self.txnid,
            why,
        }
    }

    /// Reads the next words of a list that has `len` bytes in all.
    fn take(&mut self, words: &[u8], len: usize) -> Result<(), Kind> {
        let (words, rest) = words.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(self.wrong("is not made of whole words"));
        }
        for word in words {
            let word = u64::from_le_bytes(*word);
            match self.left {
                None if word >= len as u64 / 8 => {
                    return Err(self.wrong("is longer than its row"));
                }
                None => {
                    self.left = Some(word);
                    self.count = word;
                }
                Some(0) => return Ok(()),
                Some(left) => {
                    self.page(word)?;
                    self.left = Some(left - 1);
                }
            }
        }
        Ok(())
    }

    fn page(&mut self, page: u64) -> Result<(), Kind> {
        if page >= self.before {
            return Err(self.wrong("is not in descending order"));
        }
        self.before = page;
        self.space.reach(page).map_err(|kind| match kind {
            Kind::ReachedTwice => Kind::NotFree {
                txnid: self.txnid,
                target: page,
            },
            other => other,
        })
    }

    /// How many pages it has.
    fn end(&self) -> Result<u64, Kind> {
        match self.left {
            Some(0) => Ok(self.count),
            _ => Err(self.wrong("is shorter than it says")),
        }
    }
}
