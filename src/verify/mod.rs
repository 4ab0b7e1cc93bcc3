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
mod keys;
mod level;
mod meta;
pub(crate) mod page;
pub(crate) mod rows;
mod space;
mod structure;
mod tree;

use std::{fmt, io};

use bytes::ReadAt;
use finding::{Findings, Place};
pub(crate) use level::Level;
pub(crate) use meta::{Meta, Metas};
pub(crate) use structure::in_force;

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
    pub fn of_commit(source: &dyn ReadAt, meta: &Meta, level: Level) -> io::Result<Report> {
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
