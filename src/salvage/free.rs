//! The free list of a commit that is, or may be, in force. It shows which pages were in use then,
//! and so whether the content of a page is of that commit.

use std::collections::HashSet;

use crate::salvage::source::Source;
use crate::salvage::tree;
use crate::verify::bytes::u64_at;
use crate::verify::Meta;

#[derive(Default)]
pub(crate) struct Free {
    /// Whether the whole list could be read.
    pub known: bool,
    /// The last page of the file.
    last: u64,
    pages: HashSet<u64>,
    /// Whether it is of a commit before or after the meta page's: then one of the two went back to
    /// an older content.
    pub is_stale: bool,
}

impl Free {
    /// Reads the list of a commit as far as that is possible.
    pub fn read(source: &Source<'_>, meta: Option<&Meta>) -> Free {
        let mut free = Free::default();
        let Some(meta) = meta else {
            return free;
        };
        free.last = meta.last_page;
        let mut newest = 0;
        let walked = tree::walk(source, &meta.free, &mut |commit, list| {
            newest = newest.max(u64_at(commit, 0));
            let mut numbers = list.as_chunks().0.iter().copied().map(u64::from_le_bytes);
            let count = numbers.next().unwrap_or(0);
            free.pages
                .extend(numbers.zip(0..count).map(|(page, _)| page));
            true
        });
        free.known = walked.lost.is_empty();
        // Every commit but a file's first has a list.
        free.is_stale = newest > meta.txnid || free.known && newest < meta.txnid && meta.txnid > 1;
        free
    }

    /// Whether the page is known not to have been in use.
    pub fn has(&self, page: u64) -> bool {
        page > self.last || self.pages.contains(&page)
    }
}
