//! Is this file a sound store? Read with plain reads and trusted in nothing: LMDB follows every
//! number that it finds.
//!
//! [`head`] tells what kind of file it is, before LMDB opens it. [`store`] then checks one snapshot
//! of it, from the meta page to the rows, before the first of its pages is used through LMDB.

mod branches;
pub(crate) mod bytes;
mod finding;
mod free;
pub(crate) mod head;
mod meta;
pub(crate) mod page;
mod pages;
pub(crate) mod rows;
mod space;
mod structure;
mod tree;

use crate::env::{Env, Snapshot};
use crate::error::{Error, Result};
use bytes::ReadAt;
use finding::{Findings, Place};
pub(crate) use meta::{Meta, Metas};
use std::sync::Arc;
use std::{fmt, io};
pub(crate) use structure::in_force;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The meta pages, the unnamed database, the free list, and the file's length.
    Quick,
    /// Every page, and no row: whether LMDB can read it, whatever the rows say.
    Structure,
    /// Every page and every row.
    Full,
}

/// Checks the newest commit of an open environment, of which nothing but the unnamed database has
/// been read through LMDB.
///
/// An LMDB read transaction is open meanwhile, so no writer, of whatever process, uses its pages
/// again, and none has to wait. Beginning one reads nothing but a meta page.
pub(crate) fn store(env: &Arc<Env>, level: Level) -> Result<()> {
    let failed = |e| Error::io("reading the file", env.path(), e);
    let what = "a moment without two commits, to read the newest's meta page";
    let (snapshot, meta) = env.deadline().poll(what, || {
        let snapshot = Snapshot::open(env)?;
        let metas = Metas::read(env.file()).map_err(failed)?;
        Ok(metas
            .of_commit(snapshot.commit())
            .map(|meta| (snapshot, meta)))
    })?;
    if level == Level::Full {
        env.read_ahead(meta.needed());
    }
    let report = Report::of_commit(env.file(), &meta, level).map_err(failed)?;
    drop(snapshot);
    match report.is_sound() {
        true => Ok(()),
        false => Err(Error::corrupt(report.to_string()).at(env.path())),
    }
}

/// What a verification found.
#[derive(Default)]
pub(crate) struct Report {
    pub findings: Findings,
    /// Pages that are neither in use nor free, where all were looked at: room that is lost, which
    /// harms nobody.
    #[cfg_attr(not(fuzzing), allow(dead_code))] // as for `of_bytes`
    pub lost: u64,
    /// If something is wrong: whether what the commit before left is sound, as far as that can
    /// still be told.
    pub sound_before: Option<bool>,
}

impl Report {
    /// Checks a file that nobody writes to, as far as its bytes tell.
    #[cfg_attr(not(fuzzing), allow(dead_code))] // fuzzed and tested on bytes
    pub fn of_bytes(source: &dyn ReadAt, level: Level) -> io::Result<Report> {
        match structure::in_force(&Metas::read(source)?) {
            Ok(meta) => Report::of_commit(source, &meta, level),
            Err(problem) => {
                let mut report = Report::default();
                report.findings.add(Place::Meta, None, problem);
                Ok(report)
            }
        }
    }

    /// Checks the commit that `meta` stands for. Its pages, and those of the one before it, stay as
    /// they are.
    fn of_commit(source: &dyn ReadAt, meta: &Meta, level: Level) -> io::Result<Report> {
        let (findings, lost) = structure::check(source, meta, level)?;
        let mut report = Report {
            findings,
            lost,
            sound_before: None,
        };
        if !report.is_sound() {
            let before = meta.txnid.wrapping_sub(1);
            if let Some(before) = Metas::read(source)?.of_commit(before) {
                let (findings, _) = structure::check(source, &before, Level::Full)?;
                report.sound_before = Some(findings.is_empty());
            }
        }
        Ok(report)
    }

    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.findings)?;
        f.write_str(match self.sound_before {
            Some(true) => "; what the commit before left is sound",
            Some(false) => "; what the commit before left is not sound either",
            None => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceInfo, PoolMetadata};

    fn store_bytes() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pool.db");
        let store = PoolMetadata::open(&path).unwrap();
        for n in 0..300 {
            let device = &mut DeviceInfo::new(format!("device-{n}"));
            store.add_device(device).unwrap();
        }
        store.close().unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn bytes_are_checked_as_a_file_is() {
        let bytes = store_bytes();
        let report = Report::of_bytes(&&bytes[..], Level::Full).unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.lost, report.sound_before), (0, None));
        for level in [Level::Quick, Level::Full] {
            let report = Report::of_bytes(&&bytes[..8192], level).unwrap();
            assert!(report.to_string().contains("cut short"), "{report}");
        }
        assert!(!Report::of_bytes(&&b""[..], Level::Full).unwrap().is_sound());
    }

    #[test]
    fn pages_that_nobody_knows_of_are_counted_and_harm_nobody() {
        let mut bytes = store_bytes();
        let metas = Metas::read(&&bytes[..]).unwrap();
        let meta = structure::in_force(&metas).unwrap();
        // The room behind the last page, taken into the file.
        let at = Meta::home(meta.txnid) * meta.page_size as usize + page::HEADER + 120;
        bytes[at..at + 8].copy_from_slice(&(meta.last_page + 3).to_le_bytes());
        let report = Report::of_bytes(&&bytes[..], Level::Full).unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!(report.lost, 3);
    }
}
