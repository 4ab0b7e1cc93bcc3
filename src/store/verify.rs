//! Verification of an open store.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::lmdb::env::Env;
use crate::lmdb::snapshot::Snapshot;
use crate::store::options::Verify;
use crate::verify::{Level, Metas, Report};

/// Checks the newest commit of an open environment, of which nothing but the unnamed database has
/// been read through LMDB.
///
/// An LMDB read transaction is open meanwhile, so no writer, of whatever process, uses its pages
/// again, and none has to wait. Beginning one reads nothing but a meta page.
pub(crate) fn check_level(env: &Arc<Env>, level: Level) -> Result<()> {
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

/// Checks a store that has just been opened, unless that was done before a commit of it was undone.
/// Of a private copy, all pages are checked at least: no lock has kept writers from the file while
/// it was made.
pub(crate) fn verify_opened(env: &Arc<Env>, level: Verify) -> Result<()> {
    if env.was_checked() {
        return Ok(());
    }
    if env.is_copy() && level != Verify::Full {
        check_level(env, Level::Structure)?;
    }
    verify(env, level)
}

/// Checks an environment as far as `level` says.
pub(crate) fn verify(env: &Arc<Env>, level: Verify) -> Result<()> {
    level
        .level()
        .map_or(Ok(()), |level| check_level(env, level))
}

impl Verify {
    pub(super) fn level(self) -> Option<Level> {
        match self {
            Verify::None => None,
            Verify::Quick => Some(Level::Quick),
            Verify::Full => Some(Level::Full),
        }
    }
}
