//! A copy of a store in memory that nobody else sees, as of one commit, made with plain reads: for
//! a handle that only reads, where it cannot share LMDB's reader table with writers.
//!
//! Nothing is locked or announced meanwhile, so no writer waits for it, and a writer may write over
//! pages that are still to be read: then the copy starts over (see `InForce::was_kept`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::memfd::MFdFlags;

use crate::error::{Error, Result};
use crate::file::copying::{chunk, copy_range, write_metas};
use crate::file::memory_file;
use crate::file::path::DESCRIPTORS;
use crate::verify::bytes::ReadAt;
use crate::verify::meta::Meta;
use crate::verify::newest::Probe;
use crate::verify::Metas;

/// A file in memory, which has no name.
pub(crate) struct PrivateFile {
    file: File,
    probe: Probe,
    /// Kept between attempts: memory that is new is slow, and a writer goes on meanwhile.
    chunk: Vec<u8>,
}

impl PrivateFile {
    /// Makes an empty one.
    pub fn new(original: &Path) -> Result<PrivateFile> {
        let made = memory_file::new("pool-metadata", MFdFlags::empty());
        Ok(PrivateFile {
            file: made.map_err(|e| failed(original, e))?,
            probe: Probe::default(),
            chunk: chunk(),
        })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn into_file(self) -> File {
        self.file
    }

    /// A path by which this process can open it, as long as it is open.
    pub fn path(&self) -> PathBuf {
        Path::new(DESCRIPTORS).join(self.file.as_raw_fd().to_string())
    }

    /// Copies the commit of a store that is in force; false if a writer has been too fast.
    pub fn copy(&mut self, from: &impl ReadAt, original: &Path) -> Result<bool> {
        let read = || Metas::read(from).map_err(|e| Error::io("reading the file", original, e));
        let before = read()?;
        // What is wrong with a meta page was found before, unless it is being written just now.
        let found = self.probe.in_force(from, &before);
        let found = found.map_err(|e| Error::io("reading the file", original, e))?;
        let Some(found) = found.ok().filter(|found| found.meta.check_range().is_ok()) else {
            return Ok(false);
        };
        let meta = found.meta;
        let write = |bytes: &[u8], at| {
            let written = self.file.write_all_at(bytes, at);
            written.map_err(|e| failed(original, e))
        };
        let len = self.file.set_len(meta.needed());
        len.map_err(|e| failed(original, e))?;
        let pages = 2 * meta.page_size..meta.needed();
        copy_range(from, original, pages, &mut self.chunk, write)?;
        if !found.was_kept(&before, &read()?) {
            return Ok(false);
        }
        let home = Meta::home(meta.txnid);
        let mut page = match home {
            0 => before.first,
            _ => before.second,
        };
        // What has to be written there first, if its own meta page is not in its place.
        for undo in found.unfinished.iter().flat_map(|found| &found.undo) {
            undo.apply(home as u64 * meta.page_size, &mut page);
        }
        write_metas(page, meta.txnid, meta.page_size, write)?;
        Ok(true)
    }
}

/// The memory for the copy counts as a file system to the kernel.
fn failed(original: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::ENOMEM) => Error::NoMemory {
            what: "copying the store, which cannot be read in place here",
        },
        _ => Error::io("copying the store into memory", original, error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::verify::flush_mark::FlushMark;
    use crate::verify::meta::{LEN, TXNID_AT};
    use crate::verify::newest_meta;

    const PAGE: usize = 4096;
    const PAGES: usize = 600;

    /// A store whose writer has made `commits` more commits each time that a page is read behind
    /// the meta pages. A commit writes its number to every page that is then free, as LMDB may.
    struct Written {
        template: Vec<u8>,
        first: u64,
        commits: u64,
        reads: AtomicU64,
    }

    impl Written {
        fn new(commits: u64) -> Written {
            let store = include_bytes!("../../tests/fixtures/store-v2.db");
            let mut template = store.to_vec();
            template.resize(PAGES * PAGE, 0);
            let meta = newest_meta(&Metas::read(&&template[..]).unwrap()).unwrap();
            Written {
                template,
                first: meta.txnid,
                commits,
                reads: AtomicU64::new(0),
            }
        }

        fn newest(&self) -> u64 {
            self.first + self.reads.load(Ordering::Relaxed) * self.commits
        }

        fn bytes(&self) -> Vec<u8> {
            let newest = self.newest();
            let mut bytes = self.template.clone();
            let home = Meta::home(self.first) * PAGE;
            let meta = bytes[home..home + LEN].to_vec();
            for txnid in [newest - 1, newest] {
                let at = Meta::home(txnid) * PAGE;
                bytes[at..at + LEN].copy_from_slice(&meta);
                bytes[at..at + 8].copy_from_slice(&(Meta::home(txnid) as u64).to_le_bytes());
                bytes[at + TXNID_AT..at + TXNID_AT + 8].copy_from_slice(&txnid.to_le_bytes());
            }
            bytes
        }
    }

    impl ReadAt for Written {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let got = ReadAt::read_at(&&self.bytes()[..], buffer, offset)?;
            if offset >= 2 * PAGE as u64 {
                self.reads.fetch_add(1, Ordering::Relaxed);
            }
            Ok(got)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.template.len() as u64)
        }
    }

    /// The one read that the copy takes stands for all commits that are made during it.
    #[test]
    fn copy_is_whole_while_at_most_one_commit_is_made() {
        for (commits, whole) in [(0, true), (1, true), (2, false), (3, false), (4, false)] {
            let source = Written::new(commits);
            let mut copy = PrivateFile::new(Path::new("/pool.db")).unwrap();
            let copied = copy.copy(&source, Path::new("/pool.db")).unwrap();
            assert_eq!(copied, whole, "{commits}");
            if whole {
                let metas = Metas::read(copy.file()).unwrap();
                assert_eq!(newest_meta(&metas).unwrap().txnid, source.first);
            }
        }
    }

    /// A commit that could not be flushed, and the next one, which gets its number and its places
    /// and comes while the pages of the former are read.
    struct Undone {
        store: Vec<u8>,
        reads: AtomicU64,
    }

    impl ReadAt for Undone {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut store = self.store.clone();
            if self.reads.load(Ordering::Relaxed) > 0 {
                let commit = newest_meta(&Metas::read(&&store[..])?).unwrap().txnid;
                let mark = FlushMark::of_failed(commit, 1);
                mark.put(&mut store, PAGE as u64);
            }
            if offset >= 2 * PAGE as u64 {
                self.reads.fetch_add(1, Ordering::Relaxed);
            }
            ReadAt::read_at(&&store[..], buffer, offset)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.store.len() as u64)
        }
    }

    /// Their meta pages can be equal, but for the mark.
    #[test]
    fn copy_during_which_its_commit_is_undone_and_followed_is_not_whole() {
        let mut store = include_bytes!("../../tests/fixtures/store-v2.db").to_vec();
        let commit = newest_meta(&Metas::read(&&store[..]).unwrap())
            .unwrap()
            .txnid;
        FlushMark::of(commit).put(&mut store, PAGE as u64);
        let reads = AtomicU64::new(0);
        let source = Undone { store, reads };
        let mut copy = PrivateFile::new(Path::new("/pool.db")).unwrap();
        assert!(!copy.copy(&source, Path::new("/pool.db")).unwrap());
    }

    #[test]
    fn file_that_ends_before_its_last_page_is_damaged() {
        let source = Written::new(0);
        let meta = newest_meta(&Metas::read(&source).unwrap()).unwrap();
        let cut = &source.template[..meta.needed() as usize - 1];
        let mut copy = PrivateFile::new(Path::new("/pool.db")).unwrap();
        let error = copy.copy(&cut, Path::new("/pool.db")).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
}
