//! A store that is read in a private copy, where it cannot be read in place without an effect on
//! others: `file/viewer.rs` says where that is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::fs::{is_at, open_file};
use crate::file::lmdb_lock_file::Held;
use crate::file::open_files::{Kind, Listed};
use crate::file::path::DESCRIPTORS;
use crate::file::private_copy::PrivateFile;
use crate::file::process_lock::FileLock;
use crate::lmdb::claim::Claimed;
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::create;
use crate::lmdb::env::Env;
use crate::lmdb::open::{identify, open_lmdb};
use crate::lmdb::open_tables::open_tables;
use crate::lmdb::raw::{Handle, LockWatch};
use crate::sync::deadline::Deadline;

/// What is waited for while a copy is made.
const QUIET: &str = "a moment with at most one commit, in which the store can be copied to be \
                     read; open it where its -lock file can be written, or make a backup there and \
                     read that";

impl Env {
    /// Opens a copy of the store, which is made within the lock wait.
    pub(super) fn open_copy(path: PathBuf, config: Config, deadline: &Deadline) -> Result<Env> {
        let mut copy = PrivateFile::new(&path)?;
        let original = deadline.poll(QUIET, || {
            let (file, metadata) = open_file(&path, true, deadline)?;
            // A store that this process repairs or replaces is waited for; one that it has open is
            // not opened again.
            if !Listed::hold(deadline)?.is_free(&path, &metadata, Kind::Store)? {
                return Ok(None);
            }
            if let Some(error) = create::lost_content(&path, &metadata)? {
                return Err(error);
            }
            identify(&file, &path, &config, deadline)?;
            let whole = copy.copy(&file, &path)?;
            let in_place = is_at(&path, &metadata).map_err(|e| Error::io("opening", &path, e))?;
            Ok((whole && in_place).then_some(metadata))
        })?;
        let head = identify(copy.file(), &path, &config, deadline)?;
        let config = Config {
            sharing: Sharing::Temporary,
            ..config
        };
        let lmdb_path = copy.path();
        if !lmdb_path.exists() {
            return Err(Error::NoSuchFile {
                path: Path::new(DESCRIPTORS).into(),
                why: "the store cannot be read in place here, and its copy is opened by a path in \
                      this directory; mount /proc",
            });
        }
        let mut lmdb = open_lmdb(&lmdb_path, &config, &head)?;
        let tables = open_tables(&mut lmdb, &path, deadline)?;
        let fail = |e| Error::io("opening the copy of the store", &path, e);
        let file = copy.into_file();
        let claimed = Claimed {
            metadata: file.metadata().map_err(fail)?,
            process_lock: FileLock::new(file.try_clone().map_err(fail)?),
            file,
            registered: None,
            new: false,
        };
        let held = Held::new(&path, None);
        let watch = Arc::new(LockWatch::new(None));
        let handle = Handle::new(lmdb, watch);
        let mut env = Env::new(path, config, claimed, head.page_size, handle, tables, held);
        env.copied = Some(original);
        Ok(env)
    }
}
