//! Makes files that the library itself never writes, for the C tests:
//!
//! ```text
//! craft_store foreign PATH rows      an LMDB file of another program, at a path where nothing is
//! craft_store format PATH VERSION    gives a store another format version
//! craft_store last-id PATH ID        says that the ids 1 to ID have been given out
//! craft_store nul-name PATH NAME     gives a device the name NAME, a NUL, and an x
//! ```
//!
//! `docs/design.md` describes the bytes. Checksums hold in what this writes; the store that it is
//! given must not be open anywhere.

use bincode::config;
use lmdb::{Database, Environment, EnvironmentFlags, RwTransaction, Transaction, WriteFlags};
use std::error::Error;
use std::path::Path;
use xxhash_rust::xxh3::{xxh3_128_with_seed, xxh3_64_with_seed};

const KEY: &[u8] = b"header";
/// The magic number and the format version come before the fields, the checksum after them.
const FIELDS_START: usize = 10;
const SUM_LEN: usize = 4;

/// commit, last_id, devices, free_ids, faulty_ids, digest, journal_rows, removals, removals_since,
/// last_intent
type Fields = (u64, u32, u32, u32, u32, u128, u32, u32, u64, u64);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, path, argument] = arguments.as_slice() else {
        return Err("usage: craft_store WHAT PATH ARGUMENT".into());
    };
    let path = Path::new(path);
    match what.as_str() {
        "foreign" => foreign(path, argument),
        "format" => {
            let version: u16 = argument.parse()?;
            edit(path, None, |txn, main, _| {
                rewrite_header(txn, main, |value| {
                    value[8..FIELDS_START].copy_from_slice(&version.to_le_bytes());
                    Ok(())
                })
            })
        }
        "last-id" => {
            let id = argument.parse()?;
            edit(path, None, |txn, main, _| {
                rewrite_header(txn, main, |value| {
                    change_fields(value, |fields| fields.1 = id)
                })
            })
        }
        "nul-name" => edit(path, Some("devices"), |txn, main, devices| {
            let digest = rename(txn, devices, argument)?;
            rewrite_header(txn, main, |value| {
                change_fields(value, |fields| fields.5 = fields.5.wrapping_add(digest))
            })
        }),
        other => Err(format!("cannot make {other}").into()),
    }
}

fn environment(path: &Path) -> lmdb::Result<Environment> {
    // No lock file: no other process has the file open.
    Environment::new()
        .set_flags(EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK)
        .set_max_dbs(8)
        .set_map_size(1 << 30)
        .open(path)
}

fn foreign(path: &Path, row: &str) -> Outcome<()> {
    let environment = environment(path)?;
    let main = environment.open_db(None)?;
    let mut txn = environment.begin_rw_txn()?;
    txn.put(main, &row, b"of somebody else", WriteFlags::empty())?;
    Ok(txn.commit()?)
}

/// Runs `change` in a transaction, with the unnamed table and the one of that name.
fn edit(
    path: &Path,
    table: Option<&str>,
    change: impl FnOnce(&mut RwTransaction<'_>, Database, Database) -> Outcome<()>,
) -> Outcome<()> {
    let environment = environment(path)?;
    let main = environment.open_db(None)?;
    let table = environment.open_db(table)?;
    let mut txn = environment.begin_rw_txn()?;
    change(&mut txn, main, table)?;
    txn.commit()?;
    drop(environment);
    mark_flushed(path)
}

/// Marks the newest commit of a store of 4 KiB pages as flushed, as the library does: what is wrong
/// with it is then damage, and not what a power cut has left half written.
fn mark_flushed(path: &Path) -> Outcome<()> {
    const PAGE: usize = 4096;
    const COMMIT: usize = 144;
    const MARK: usize = 160;
    let mut file = std::fs::read(path)?;
    let commit = |page| -> Outcome<u64> {
        let number: [u8; 8] = file[page + COMMIT..][..8].try_into()?;
        Ok(u64::from_le_bytes(number))
    };
    let newest = commit(0)?.max(commit(PAGE)?);
    let fields = [newest.to_le_bytes(), [0; 8], [0; 8]].concat();
    let sum = crc32c::crc32c(&fields).to_le_bytes();
    let mark = [&b"pmfl"[..], &sum, &fields].concat();
    let page = if newest.is_multiple_of(2) { PAGE } else { 0 };
    file[page + MARK..][..mark.len()].copy_from_slice(&mark);
    Ok(std::fs::write(path, file)?)
}

/// Changes the header row, and recomputes its checksum.
fn rewrite_header(
    txn: &mut RwTransaction<'_>,
    main: Database,
    change: impl FnOnce(&mut Vec<u8>) -> Outcome<()>,
) -> Outcome<()> {
    let mut value = txn.get(main, &KEY)?.to_vec();
    value.truncate(value.len() - SUM_LEN);
    change(&mut value)?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(KEY), &value);
    value.extend_from_slice(&sum.to_le_bytes());
    Ok(txn.put(main, &KEY, &value, WriteFlags::empty())?)
}

fn change_fields(value: &mut Vec<u8>, change: impl FnOnce(&mut Fields)) -> Outcome<()> {
    let fields = &value[FIELDS_START..];
    let (mut fields, _): (Fields, usize) =
        bincode::serde::decode_from_slice(fields, config::standard())?;
    change(&mut fields);
    value.truncate(FIELDS_START);
    value.extend(bincode::serde::encode_to_vec(fields, config::standard())?);
    Ok(())
}

/// Gives a device's record a name with a NUL. Returns the change of the digest.
fn rename(txn: &mut RwTransaction<'_>, devices: Database, name: &str) -> Outcome<u128> {
    let new_name = format!("{name}\0x");
    let mut value = txn.get(devices, &name)?.to_vec();
    let old = share(name, &value);
    txn.del(devices, &name, None)?;
    value.truncate(value.len() - SUM_LEN);
    let sum = crc32c::crc32c_append(crc32c::crc32c(new_name.as_bytes()), &value);
    value.extend_from_slice(&sum.to_le_bytes());
    txn.put(devices, &new_name, &value, WriteFlags::empty())?;
    Ok(share(&new_name, &value).wrapping_sub(old))
}

/// The hash of a device's row, which the digest adds up.
fn share(name: &str, value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64_with_seed(name.as_bytes(), 1))
}
