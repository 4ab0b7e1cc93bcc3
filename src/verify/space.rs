//! The pages of one file: reading them, and which of them were reached.

use std::io;

use crate::format::bit_set::BitSet;
use crate::verify::bytes::ReadAt;
use crate::verify::page;
use crate::verify::page::HEADER;
use crate::verify::violation::{CheckError, Kind};

/// A file's pages up to the last one that a meta page names.
pub(crate) struct Space<'a> {
    pub source: &'a dyn ReadAt,
    pub page_size: usize,
    pub last_page: u64,
    /// Pages that are in use, or listed as free. Both meta pages are.
    reached: BitSet,
}

impl<'a> Space<'a> {
    pub fn new(source: &'a dyn ReadAt, page_size: usize, last_page: u64) -> Space<'a> {
        Space {
            source,
            page_size,
            last_page,
            reached: BitSet::up_to(last_page),
        }
    }

    /// Marks `page` as reached.
    pub fn reach(&self, page: u64) -> Result<(), Kind> {
        if !(2..=self.last_page).contains(&page) {
            return Err(self.outside(page));
        }
        match self.reached.insert(page) {
            true => Ok(()),
            false => Err(Kind::ReachedTwice),
        }
    }

    pub fn is_reached(&self, page: u64) -> bool {
        self.reached.contains(page)
    }

    /// The pages that were reached.
    pub fn reached(&self) -> impl Iterator<Item = u64> + '_ {
        self.reached.iter()
    }

    pub fn outside(&self, target: u64) -> Kind {
        Kind::PageOutside {
            target,
            last: self.last_page,
        }
    }

    /// Reads whole pages from `first` on; how many of them the file has.
    pub fn read_pages(&self, first: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = first * self.page_size as u64;
        Ok(self.source.read_up_to(buffer, offset)? / self.page_size)
    }

    /// Marks the pages of a value of `len` bytes that begins on `first` as reached; how many they
    /// are.
    pub fn reach_overflow(&self, first: u64, len: usize) -> Result<u64, CheckError> {
        if !(2..=self.last_page).contains(&first) {
            return Err(self.outside(first).into());
        }
        let mut header = [0; HEADER];
        let got = self
            .source
            .read_up_to(&mut header, first * self.page_size as u64)?;
        let pages = page::overflow_extent(&header[..got], first)?;
        if pages < page::overflow_pages(len, self.page_size) || pages > self.last_page - first + 1 {
            let len = len as u64;
            return Err(Kind::Overflow { len, pages }.into());
        }
        // The first page that is in use already ends this: however many values claim the same
        // pages, the work is bounded by the pages and the values.
        (first..first + pages).try_for_each(|page| self.reach(page))?;
        Ok(pages)
    }

    /// Shows a value of `len` bytes, whose pages are known to be there, in pieces of whole words.
    pub fn each_piece(
        &self,
        first: u64,
        len: usize,
        mut show: impl FnMut(&[u8]) -> Result<(), Kind>,
    ) -> Result<(), CheckError> {
        let mut piece = vec![0; len.min(64 << 10)];
        let start = first * self.page_size as u64 + HEADER as u64;
        let mut done = 0;
        while done < len {
            let wanted = piece.len().min(len - done);
            let got = self
                .source
                .read_up_to(&mut piece[..wanted], start + done as u64)?;
            if got < wanted {
                return Err(Kind::PageShort.into());
            }
            show(&piece[..wanted])?;
            done += wanted;
        }
        Ok(())
    }
}
