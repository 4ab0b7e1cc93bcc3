//! A store's file through LMDB alone, without this library, and files that are not stores.

use lmdb::{
    Cursor, Database, Environment, EnvironmentFlags, RwTransaction, Transaction, WriteFlags,
};
use std::path::Path;

/// The databases of a store's file.
pub struct Tables {
    pub main: Database,
    pub devices: Database,
    pub ids: Database,
    /// Not in a store of format 1.
    pub journal: Option<Database>,
}

/// An LMDB environment in one file, as another program would have it.
pub fn environment(path: &Path) -> Environment {
    Environment::new()
        .set_flags(EnvironmentFlags::NO_SUB_DIR)
        .set_max_dbs(8)
        .set_map_size(64 << 20)
        .open(path)
        .unwrap()
}

/// An LMDB environment for a store that others have open, for reads that are not bound to a thread.
pub fn readers(path: &Path) -> Environment {
    Environment::new()
        .set_flags(
            EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::READ_ONLY | EnvironmentFlags::NO_TLS,
        )
        .set_max_dbs(8)
        .set_map_size(64 << 20)
        .open(path)
        .unwrap()
}

/// Makes an LMDB file of another program.
pub fn foreign(path: &Path, fill: impl FnOnce(&Environment)) {
    let environment = environment(path);
    fill(&environment);
    drop(environment);
    std::fs::remove_file(lock_path(path)).unwrap();
}

/// Puts rows into the unnamed database.
pub fn put_rows(environment: &Environment, rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
    let main = environment.open_db(None).unwrap();
    let mut txn = environment.begin_rw_txn().unwrap();
    for (key, value) in rows {
        txn.put(main, &key, &value, WriteFlags::empty()).unwrap();
    }
    txn.commit().unwrap();
}

/// Changes the rows of a store that no process has open.
pub fn edit(path: &Path, change: impl FnOnce(&mut RwTransaction<'_>, &Tables)) {
    let environment = environment(path);
    let open = |name| environment.open_db(name).unwrap();
    let tables = Tables {
        main: open(None),
        devices: open(Some("devices")),
        ids: open(Some("ids")),
        journal: environment.open_db(Some("journal")).ok(),
    };
    let mut txn = environment.begin_rw_txn().unwrap();
    change(&mut txn, &tables);
    txn.commit().unwrap();
    drop(environment);
    mark_flushed(path);
}

/// Takes the notes of flushes out of a file, as a power cut can.
pub fn clear_marks(path: &Path) {
    const PAGE: usize = 4096;
    const MARK: std::ops::Range<usize> = 160..192;
    let mut bytes = std::fs::read(path).unwrap();
    for meta in bytes.chunks_mut(PAGE).take(2) {
        meta[MARK].fill(0);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Marks the newest commit of a file as flushed, as the library does: what is wrong with it is no
/// power cut's doing.
pub fn mark_flushed(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    mark(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Does that in the bytes of a file, if it has meta pages.
pub fn mark(bytes: &mut [u8]) {
    const PAGE: usize = 4096;
    const TXNID: usize = 144;
    const MARK: usize = 160;
    if bytes.len() < 2 * PAGE {
        return;
    }
    let commit = |page: usize| u64::from_le_bytes(bytes[page + TXNID..][..8].try_into().unwrap());
    let newest = commit(0).max(commit(PAGE));
    let fields = [newest.to_le_bytes(), [0; 8], [0; 8]].concat();
    let mark = [&b"pmfl"[..], &crc32c(fields.iter()).to_le_bytes(), &fields].concat();
    let at = (newest as usize + 1) % 2 * PAGE + MARK;
    bytes[at..at + mark.len()].copy_from_slice(&mark);
}

/// Removes the anchors from the bytes of a file.
pub fn remove_anchors(bytes: &mut [u8]) {
    const PAGE: usize = 4096;
    const ANCHOR: std::ops::Range<usize> = 512..648;
    for page in [0, PAGE] {
        if let Some(anchor) = bytes.get_mut(page + ANCHOR.start..page + ANCHOR.end) {
            anchor.fill(0);
        }
    }
}

/// Removes the flush mark that says that commits are deferred from the bytes of a file.
pub fn remove_mark_of_deferral(bytes: &mut [u8]) {
    const PAGE: usize = 4096;
    const MARK: std::ops::Range<usize> = 160..192;
    for page in [0, PAGE] {
        let mark = &mut bytes[page + MARK.start..page + MARK.end];
        // The highest bit of its second number.
        if mark[23] & 0x80 != 0 {
            mark.fill(0);
        }
    }
}

/// Replaces one row's value.
pub fn rewrite(
    txn: &mut RwTransaction<'_>,
    table: Database,
    key: &[u8],
    change: impl FnOnce(&mut Vec<u8>),
) {
    let mut value = txn.get(table, &key).unwrap().to_vec();
    change(&mut value);
    txn.put(table, &key, &value, WriteFlags::empty()).unwrap();
}

/// Gives a device another name and record, and adjusts the checksums and the digest, as a commit of
/// the store would.
pub fn become_another(
    txn: &mut RwTransaction<'_>,
    tables: &Tables,
    name: &[u8],
    new_name: &[u8],
    change: impl FnOnce(&mut Vec<u8>),
) {
    let mut value = txn.get(tables.devices, &name).unwrap().to_vec();
    let old = digest(name, &value);
    txn.del(tables.devices, &name, None).unwrap();
    change(&mut value);
    seal(new_name, &mut value);
    txn.put(tables.devices, &new_name, &value, WriteFlags::empty())
        .unwrap();
    let new = digest(new_name, &value);
    rewrite_header(txn, tables, |fields| {
        fields.5 = fields.5.wrapping_sub(old).wrapping_add(new);
    });
}

/// The numbers of a header row: commit, last id, devices, free ids, faulty ids, digest, journal
/// rows, removals, the commit since which they are known, last intent.
pub type HeaderFields = (u64, u32, u32, u32, u32, u128, u32, u32, u64, u64);

/// Gives the header row other numbers, and a checksum that fits them.
pub fn rewrite_header(
    txn: &mut RwTransaction<'_>,
    tables: &Tables,
    change: impl FnOnce(&mut HeaderFields),
) {
    rewrite(txn, tables.main, b"header", |header| {
        /// Where they begin, behind the magic and the number of the format.
        const FIELDS: usize = 10;
        let config = bincode::config::standard();
        let (mut fields, _) = bincode::serde::decode_from_slice(&header[FIELDS..], config).unwrap();
        change(&mut fields);
        header.truncate(FIELDS);
        header.extend(bincode::serde::encode_to_vec(fields, config).unwrap());
        header.extend([0; 4]);
        seal(b"header", header);
    });
}

/// Gives a device's record another id. It is the record's second byte, as long as it is below 251.
pub fn set_id(txn: &mut RwTransaction<'_>, tables: &Tables, name: &[u8], id: u8) {
    rewrite(txn, tables.devices, name, |value| {
        value[1] = id;
        seal(name, value);
    });
}

/// The hash of a device's row, which the digest adds up.
fn digest(name: &[u8], value: &[u8]) -> u128 {
    use xxhash_rust::xxh3::{xxh3_128_with_seed, xxh3_64_with_seed};
    xxh3_128_with_seed(value, xxh3_64_with_seed(name, 1))
}

/// Recomputes the checksum at the end of the value.
pub fn seal(key: &[u8], value: &mut [u8]) {
    let end = value.len() - 4;
    let sum = crc32c(key.iter().chain(&value[..end]));
    value[end..].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => sum >> 1 ^ 0x82f6_3b78,
            _ => sum >> 1,
        })
    })
}

/// All keys of a table.
pub fn keys(txn: &RwTransaction<'_>, table: Database) -> Vec<Vec<u8>> {
    let mut cursor = txn.open_ro_cursor(table).unwrap();
    let rows = cursor.iter_start();
    rows.map(|row| row.unwrap().0.to_vec()).collect()
}

pub fn lock_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

/// How the first meta page of every LMDB file begins.
pub const META_START: [u8; 24] = *b"\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\xde\xc0\xef\xbe\x01\0\0\0";

/// A bbolt file as its library lays it out: two meta pages, an empty free list, an empty bucket.
pub fn bbolt_file() -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut file = vec![0; 4 * PAGE];
    let page_header = |file: &mut [u8], page: usize, flags: u16| {
        file[page * PAGE..][..8].copy_from_slice(&(page as u64).to_le_bytes());
        file[page * PAGE + 8..][..2].copy_from_slice(&flags.to_le_bytes());
    };
    for page in 0..2 {
        page_header(&mut file, page, 0x04);
        let mut meta = Vec::new();
        for word in [0xED0C_DAED, 2, PAGE as u32, 0] {
            meta.extend(word.to_le_bytes());
        }
        for word in [3, 0, 2, 4, page as u64] {
            meta.extend(word.to_le_bytes());
        }
        let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        meta.extend(sum.to_le_bytes());
        file[page * PAGE + 16..][..meta.len()].copy_from_slice(&meta);
    }
    page_header(&mut file, 2, 0x10);
    page_header(&mut file, 3, 0x02);
    file
}
