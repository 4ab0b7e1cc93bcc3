//! Bringing a store of an older format to the one that this release writes.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::header::{Header, Parsed};
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::env::Env;
use crate::lmdb::write::{Step, WriteTxn};
use crate::store::options::Verify;
use crate::store::verify::verify;
use crate::sync::deadline::Deadline;

/// Upgrades the store at `path`, which is of an older format, in one transaction.
///
/// No process may have it open meanwhile: a release that does not know the new format could not go
/// on with it. Another process that upgrades the same store is waited for.
pub(crate) fn upgrade(path: &Path, config: &Config, level: Verify) -> Result<()> {
    let alone = Config {
        sharing: Sharing::Alone,
        ..config.clone()
    };
    let mut in_use = false;
    let opened = Deadline::after(config.lock_wait).poll("other processes to close it", || {
        match Env::open(path, alone.clone()) {
            Err(Error::AlreadyOpen { .. }) => {
                in_use = true;
                Ok(None)
            }
            opened => opened.map(Some),
        }
    });
    let env =
        match opened {
            Err(Error::Timeout { .. }) if in_use => return Err(Error::AlreadyOpen {
                path: path.into(),
                why: "it is of an older format, which is upgraded when it is opened for writing, \
                      and another process has it open; close it there first, or open it read-only",
            }),
            opened => Arc::new(opened?),
        };
    verify(&env, level)?;
    if env.is_current() {
        return Ok(()); // another process has done it
    }
    let waits = env.lock_wait();
    let writing = env.begin_writing(&waits)?;
    writing.run(carry_out)
}

fn carry_out(txn: &mut WriteTxn<'_>) -> Step<()> {
    let Parsed::Older(mut header) = Header::parse(txn.header()?) else {
        return Err(Error::corrupt("its header row is damaged").into());
    };
    let next = header.commit.checked_add(1);
    header.commit = next.ok_or_else(|| Error::corrupt("its number of commits cannot be"))?;
    header.removals_since = header.commit;
    txn.create_missing_tables()?;
    let mut value = Vec::new();
    header.encode(&mut value)?;
    txn.put_header(header, &value)
}
