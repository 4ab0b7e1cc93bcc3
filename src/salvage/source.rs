//! Reading the pages of a damaged file.

use std::cell::RefCell;
use std::fs::File;
use std::io;

use crate::salvage::deferred::Standing;
use crate::verify;
use crate::verify::bytes::ReadAt;
use crate::verify::page::{self, HEADER};
use crate::verify::{Meta, Metas};

/// Bytes that are read at a time.
const WINDOW: usize = 1 << 20;

/// A file, read page by page. A page that cannot be read counts as missing.
pub(crate) struct Source<'a> {
    file: &'a File,
    pub page_size: usize,
    /// How many whole pages the file has.
    pub pages: u64,
    /// The meta pages that are valid.
    pub metas: Vec<Meta>,
    /// The one in force, if both are valid and agree on that. Where commits were deferred, it may
    /// be that of an anchor.
    pub in_force: Option<Meta>,
    /// What is known of the commits that may be in force where commits were deferred.
    pub deferred: Option<Standing>,
    /// The first error of a read.
    failed: RefCell<Option<io::Error>>,
}

impl<'a> Source<'a> {
    pub fn new(file: &'a File) -> io::Result<Source<'a>> {
        let metas = Metas::read(file)?.with_page_size_fixed();
        let page_size = metas.page_size as usize;
        // What the disk does not deliver shows nothing.
        let deferred = Standing::of(file, &metas).unwrap_or_default();
        let in_force = match &deferred {
            Some(standing) => Some(standing.in_force),
            None => verify::newest_meta(&metas).ok(),
        };
        let metas: Vec<Meta> = metas.parse().into_iter().flatten().collect();
        Ok(Source {
            file,
            page_size,
            pages: file.size()? / page_size as u64,
            metas,
            in_force,
            deferred,
            failed: RefCell::new(None),
        })
    }

    /// Reads a page into `buffer`; false if it is not there, or the disk fails.
    pub fn page(&self, number: u64, buffer: &mut Vec<u8>) -> bool {
        buffer.resize(self.page_size, 0);
        let at = number.checked_mul(self.page_size as u64);
        at.is_some_and(|at| self.fill(buffer, at))
    }

    /// The value of `len` bytes that begins on page `first`, if that is an overflow page.
    pub fn value(&self, first: u64, len: usize) -> Option<Vec<u8>> {
        let at = first.checked_mul(self.page_size as u64)?;
        let mut header = [0; HEADER];
        if !self.fill(&mut header, at) || page::overflow_extent(&header, first).is_err() {
            return None;
        }
        let mut value = vec![0; len];
        self.fill(&mut value, at.checked_add(HEADER as u64)?)
            .then_some(value)
    }

    fn fill(&self, buffer: &mut [u8], at: u64) -> bool {
        match self.file.read_up_to(buffer, at) {
            Ok(got) => got == buffer.len(),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                false
            }
        }
    }

    /// The first error of a read, if there was one.
    pub fn failure(self) -> Option<io::Error> {
        self.failed.into_inner()
    }

    /// Shows every readable page but the meta pages, with its number.
    pub fn each_page(&self, mut show: impl FnMut(u64, &[u8])) {
        let step = (WINDOW / self.page_size) as u64;
        let mut window = vec![0; WINDOW];
        let mut page = Vec::new();
        let mut first = 2;
        while first < self.pages {
            let count = step.min(self.pages - first);
            let bytes = &mut window[..count as usize * self.page_size];
            if self.fill(bytes, first * self.page_size as u64) {
                let pages = bytes.chunks_exact(self.page_size);
                (first..)
                    .zip(pages)
                    .for_each(|(number, page)| show(number, page));
            } else {
                // If one of them is on a bad sector, the others need not be.
                for number in first..first + count {
                    if self.page(number, &mut page) {
                        show(number, &page);
                    }
                }
            }
            first += count;
        }
    }
}
