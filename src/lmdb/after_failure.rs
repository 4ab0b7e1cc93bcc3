//! What has to be done after a flush that failed, before the next commit: the system regards pages
//! that it could not write as written.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::file::direct::OnDisk;
use crate::lmdb::env::Env;
use crate::lmdb::one_flush::OneFlush;
use crate::verify::anchored::last_flushed;
use crate::verify::{written_pages, Level, Metas, Report};

impl Env {
    /// Writes the meta pages again, and, where the last commit that was flushed is another, the
    /// pages that the newest commit has beyond that. The system regards pages that it could not
    /// write as written. The caller keeps others from writing, so no byte changes.
    pub(super) fn write_again(&self, newest: u64, flushed: Option<u64>) -> Result<()> {
        let pages = match flushed {
            Some(flushed) => self.pages_after(flushed, newest)?,
            None => Vec::new(),
        };
        let mut page = vec![0; self.page_size as usize];
        for number in [0, 1].into_iter().chain(pages) {
            let at = number * self.page_size;
            self.file
                .read_exact_at(&mut page, at)
                .and_then(|()| self.file.write_all_at(&page, at))
                .map_err(|e| self.cannot_write_again(e))?;
        }
        Ok(())
    }

    fn cannot_write_again(&self, error: io::Error) -> Error {
        Error::io("writing what could not be flushed again", &self.path, error)
    }

    /// The pages that the newest commit has beyond the one that was flushed last.
    fn pages_after(&self, flushed: u64, newest: u64) -> Result<Vec<u64>> {
        let fail = |e| self.cannot_write_again(e);
        let metas = Metas::read(&self.file).map_err(fail)?;
        let lost = |what: String| {
            self.writes_stopped.store(true, Ordering::Relaxed);
            Err(Error::corrupt(format!("after a failed flush, {what}")).at(&self.path))
        };
        let meta_of = |commit: u64| {
            let anchors = metas.anchors();
            let anchor = anchors.iter().find(|anchor| anchor.commit() == commit);
            let anchor = anchor.map(|anchor| anchor.meta());
            // A meta page that undoes a commit has the number of an earlier one, not its trees.
            anchor.or(metas.of_commit(commit))
        };
        let before = meta_of(flushed).or_else(|| meta_of(last_flushed(&metas)?));
        let (Some(before), Some(newest)) = (before, metas.of_commit(newest)) else {
            return lost("the last commit that was flushed is not known".to_owned());
        };
        let pages = written_pages(&self.file, &before, &newest).map_err(fail)?;
        pages.or_else(|violation| lost(violation.to_string()))
    }

    /// Verifies the commit in force as the disk has it, as far as the system allows. If it is not
    /// sound there, the store takes no more writes.
    pub(super) fn verify_on_disk(&self, one_flush: &OneFlush, commit: u64) -> Result<()> {
        let fail = |e| self.count_failure(one_flush, e);
        let disk = OnDisk::of(&self.file);
        let metas = Metas::read(&disk).map_err(fail)?;
        // Rows that are to be repaired need not be sound.
        let level = match self.config.damaged_header {
            true => Level::Structure,
            false => Level::Full,
        };
        let what = match metas.of_commit(commit) {
            Some(meta) => {
                let report = Report::of_commit(&disk, &meta, level).map_err(fail)?;
                if report.is_sound() {
                    return Ok(());
                }
                report.to_string()
            }
            None => "its meta page is not on the disk".to_owned(),
        };
        self.writes_stopped.store(true, Ordering::Relaxed);
        Err(Error::corrupt(format!("after a failed flush, {what}")).at(&self.path))
    }
}
