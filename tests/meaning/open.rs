//! What is refused when a store is opened: each with its own status and a message that names the
//! path, and the file stays as it was.

use crate::c::types::Failure;
use crate::common::{place, raw, sys};
use crate::subject::*;
use crate::through_rust_and_c;
use lmdb::WriteFlags;
use pool_metadata::capi::*;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

through_rust_and_c!(
    path_of_no_regular_file_is_refused,
    file_of_no_known_kind_is_refused,
    empty_file_becomes_a_store,
    empty_file_that_another_program_has_locked_is_waited_for,
    empty_file_that_held_a_store_is_refused,
    bbolt_file_is_refused,
    lmdb_file_of_another_program_is_refused,
    store_of_a_newer_format_is_refused,
    file_cut_short_anywhere_is_refused,
    store_whose_first_pages_are_damaged_is_refused,
    store_that_lacks_a_table_is_refused,
    damaged_header_row_is_refused,
    path_that_can_name_nothing_is_refused,
    name_without_room_for_the_name_of_its_lock_file_is_refused,
    missing_file_or_directory_is_refused,
    new_store_is_its_owners_alone,
);

/// What there is to see of a path from outside, and of the directory that it is in.
#[derive(Debug, PartialEq)]
struct Trace {
    seen: Option<(u32, i64, i64, Option<u64>)>,
    beside: Vec<OsString>,
}

impl Trace {
    fn of(path: &Path) -> Trace {
        let seen = fs::symlink_metadata(path).ok().map(|metadata| {
            let content = metadata.is_file().then(|| {
                let mut hash = DefaultHasher::new();
                fs::read(path).unwrap().hash(&mut hash);
                hash.finish()
            });
            let changed = (metadata.mtime(), metadata.mtime_nsec());
            (metadata.mode(), changed.0, changed.1, content)
        });
        let beside = path.parent().and_then(|parent| fs::read_dir(parent).ok());
        let names = beside.into_iter().flatten();
        let mut beside: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        Trace { seen, beside }
    }
}

/// Opens the path in every way, which has to fail with that status and without a trace; the last
/// failure.
#[track_caller]
fn refused_open<S: Store>(path: &Path, status: i32) -> Failure {
    let before = Trace::of(path);
    let mut last = None;
    for flags in [PM_OPEN_READ_ONLY, 0] {
        for verify in [PM_VERIFY_NONE, PM_VERIFY_QUICK, PM_VERIFY_FULL] {
            let options = pm_options {
                flags,
                ..verifying(verify)
            };
            let failure = refused(S::open(path, &options), status);
            assert_eq!(Trace::of(path), before, "after {failure:?}");
            last = Some(failure);
        }
    }
    last.unwrap()
}

/// Holds as well that the message names the path as it is.
#[track_caller]
fn refused_by_name<S: Store>(path: &Path, status: i32) -> Failure {
    let failure = refused_open::<S>(path, status);
    failure.says(&[path.to_str().unwrap()]);
    failure
}

#[track_caller]
fn close_checked<S: Store>(store: S) {
    check(&store);
    store.close().unwrap();
}

/// A closed store with some devices, and how many bytes of its file are in use.
fn store_with<S: Store>(devices: usize) -> (tempfile::TempDir, PathBuf, u64) {
    let (directory, path) = place();
    let store = open::<S>(&path);
    for number in 0..devices {
        add(&store, format!("device-{number}"));
    }
    check(&store);
    let used = store.stats().unwrap().map_used;
    store.close().unwrap();
    (directory, path, used)
}

fn path_of_no_regular_file_is_refused<S: Store>() {
    let (directory, path) = place();
    let kind = |path: &Path, expected: &str| {
        refused_by_name::<S>(path, PM_ERR_NOT_REGULAR_FILE).says(&[expected]);
    };
    fs::create_dir(&path).unwrap();
    kind(&path, "directory");
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    kind(&socket, "socket");
    let fifo = directory.path().join("fifo");
    sys::make_fifo(&fifo);
    kind(&fifo, "named pipe");
    kind(Path::new("/dev/null"), "device");
}

fn file_of_no_known_kind_is_refused<S: Store>() {
    let (_directory, path) = place();
    let not_a_store = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        refused_by_name::<S>(&path, PM_ERR_NOT_A_STORE)
    };
    not_a_store(b"x").says(&["\"x\""]);
    not_a_store(b"just some text\n").says(&["just som"]);
    not_a_store(&[0; 3]).says(&["zeros"]);
    not_a_store(&[0; 300_000]).says(&["zeros"]);
    assert!(not_a_store(b"\xff\x00\x1b[31m").message.is_ascii());
    not_a_store(&b"#!/bin/sh\n".repeat(10_000));
}

fn empty_file_becomes_a_store<S: Store>() {
    let (directory, path) = place();
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = Trace::of(&path);
    let failure = refused(S::open(&path, &READ_ONLY), PM_ERR_NOT_A_STORE);
    failure.says(&[path.to_str().unwrap(), "empty (0 bytes)"]);
    assert_eq!(Trace::of(&path), before);
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    let store = open::<S>(&link);
    add(&store, "a");
    close_checked(store);
    let trace = Trace::of(&path);
    assert_eq!(trace.beside, ["link", "pool.db", "pool.db-lock"]);
    assert_eq!(
        trace.seen.unwrap().0 & 0o7777,
        0o640,
        "its owner has chosen that"
    );
    assert_eq!(open::<S>(&path).names().unwrap(), [b"a"]);
}

/// containerd's own store makes a file, locks it, and writes to it only then.
fn empty_file_that_another_program_has_locked_is_waited_for<S: Store>() {
    let (_directory, path) = place();
    let file = fs::File::create(&path).unwrap();
    sys::flock(&file);
    let before = Trace::of(&path);
    refused(S::open(&path, &waiting(50)), PM_ERR_TIMEOUT);
    assert_eq!(Trace::of(&path), before);
    drop(file);
    close_checked(open::<S>(&path));
}

/// A store that something has emptied, or to which a copy has failed on a full disk.
fn empty_file_that_held_a_store_is_refused<S: Store>() {
    let (_directory, path, _) = store_with::<S>(1);
    fs::write(&path, b"").unwrap();
    let failure = refused_by_name::<S>(&path, PM_ERR_CORRUPT);
    failure.says(&["empty (0 bytes)", "-lock", "restore"]);
}

fn bbolt_file_is_refused<S: Store>() {
    let (_directory, path) = place();
    let whole = raw::bbolt_file();
    // As its library writes it, with its first meta page lost, and cut short.
    let mut half = whole.clone();
    half[..4096].fill(0xaa);
    for bytes in [&whole[..], &half[..], &whole[..4096], &whole[..200]] {
        fs::write(&path, bytes).unwrap();
        refused_by_name::<S>(&path, PM_ERR_BBOLT_FILE).says(&["bbolt"]);
    }
}

fn lmdb_file_of_another_program_is_refused<S: Store>() {
    let (directory, path) = place();
    let rows = |count: usize, len: usize| {
        (0..count).map(move |n| (format!("key-{n}").into_bytes(), vec![b'v'; len]))
    };
    let foreign = |name: &str, fill: &dyn Fn(&lmdb::Environment)| {
        let path = directory.path().join(name);
        raw::foreign(&path, fill);
        refused_by_name::<S>(&path, PM_ERR_FOREIGN_LMDB);
    };
    foreign("empty", &|_| {});
    foreign("few", &|env| raw::put_rows(env, rows(3, 10)));
    foreign("large values", &|env| raw::put_rows(env, rows(3, 20_000)));
    foreign("deep", &|env| raw::put_rows(env, rows(20_000, 100)));
    foreign("header", &|env| {
        let header = (b"header".to_vec(), b"not ours".to_vec());
        raw::put_rows(env, [header]);
    });
    foreign("named", &|env| {
        for name in ["devices", "users"] {
            env.create_db(Some(name), lmdb::DatabaseFlags::DUP_SORT)
                .unwrap();
        }
    });
    // A later LMDB writes another version of its own format.
    raw::foreign(&path, |env| raw::put_rows(env, rows(3, 10)));
    let mut bytes = fs::read(&path).unwrap();
    for page in [0, 4096] {
        bytes[page + 20] = 2;
    }
    fs::write(&path, bytes).unwrap();
    refused_by_name::<S>(&path, PM_ERR_FOREIGN_LMDB);
}

fn store_of_a_newer_format_is_refused<S: Store>() {
    let (_directory, path, _) = store_with::<S>(5);
    for format in [3_u16, 300, u16::MAX] {
        raw::edit(&path, |txn, tables| {
            raw::rewrite(txn, tables.main, b"header", |row| {
                row[8..10].copy_from_slice(&format.to_le_bytes());
                raw::seal(b"header", row);
            });
        });
        let failure = refused_by_name::<S>(&path, PM_ERR_NEWER_FORMAT);
        failure.says(&[&format!("format {format}")]);
    }
    // No release has written format 0.
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |row| {
            row[8..10].fill(0);
            raw::seal(b"header", row);
        });
    });
    refused_by_name::<S>(&path, PM_ERR_CORRUPT).says(&["header"]);
}

fn file_cut_short_anywhere_is_refused<S: Store>() {
    let (_directory, path, used) = store_with::<S>(3000);
    let file = fs::File::options().write(true).open(&path).unwrap();
    // The space behind the last page is preallocated: a store without it is whole.
    file.set_len(used).unwrap();
    close_checked(open::<S>(&path));

    let mut lengths: Vec<u64> = (1..used / 4096).map(|page| page * 4096).collect();
    lengths.extend([used - 1, 4095, 4097, 8191, 8193, 12287, 152, 151, 100, 20]);
    lengths.sort_unstable();
    for len in lengths.into_iter().rev() {
        file.set_len(len).unwrap();
        refused_by_name::<S>(&path, PM_ERR_CORRUPT).says(&["cut short"]);
    }
    // Nothing is left by which a store could be recognised.
    for len in [19, 8, 1] {
        file.set_len(len).unwrap();
        refused_by_name::<S>(&path, PM_ERR_NOT_A_STORE);
    }
}

fn store_whose_first_pages_are_damaged_is_refused<S: Store>() {
    let (_directory, path, _) = store_with::<S>(50);
    let whole = fs::read(&path).unwrap();
    let page = |number: usize| number * 4096..(number + 1) * 4096;
    for (range, byte) in [(page(0), 0xaa), (page(0), 0), (page(1), 0), (page(1), 0xff)] {
        let mut bytes = whole.clone();
        bytes[range].fill(byte);
        fs::write(&path, bytes).unwrap();
        refused_by_name::<S>(&path, PM_ERR_CORRUPT).says(&["meta page"]);
    }
    // Everything behind them is gone: the root is not a page any more.
    let mut bytes = whole.clone();
    bytes[8192..].fill(0);
    fs::write(&path, bytes).unwrap();
    refused_by_name::<S>(&path, PM_ERR_CORRUPT);
    fs::write(&path, whole).unwrap();
    check(&open::<S>(&path));
}

fn store_that_lacks_a_table_is_refused<S: Store>() {
    for name in ["devices", "ids", "journal"] {
        let (_directory, path, _) = store_with::<S>(5);
        let whole = fs::read(&path).unwrap();
        for row_instead in [false, true] {
            fs::write(&path, &whole).unwrap();
            raw::edit(&path, |txn, tables| {
                let table = match name {
                    "devices" => tables.devices,
                    "ids" => tables.ids,
                    _ => tables.journal.unwrap(),
                };
                // SAFETY: the table's handle is not used again.
                unsafe { txn.drop_db(table) }.unwrap();
                if row_instead {
                    txn.put(tables.main, &name, b"a row", WriteFlags::empty())
                        .unwrap();
                }
            });
            refused_by_name::<S>(&path, PM_ERR_CORRUPT).says(&[name]);
        }
    }
}

fn damaged_header_row_is_refused<S: Store>() {
    let (_directory, path, _) = store_with::<S>(5);
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |row| row[12] ^= 1);
    });
    refused_by_name::<S>(&path, PM_ERR_CORRUPT).says(&["header"]);
    // Its first bytes say whose file it is, and so do the names beside it.
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |row| row[0] ^= 1);
    });
    refused_by_name::<S>(&path, PM_ERR_CORRUPT).says(&["header", "restore"]);
}

fn path_that_can_name_nothing_is_refused<S: Store>() {
    let (directory, path) = place();
    let invalid = |path: &Path, word: &str| {
        refused_open::<S>(path, PM_ERR_INVALID_PATH).says(&[word]);
    };
    invalid(Path::new(""), "empty");
    let nul = OsString::from_vec(b"pool\0.db".to_vec());
    invalid(&directory.path().join(nul), "NUL");
    invalid(&directory.path().join("new.db/"), "slash");
    let long: PathBuf = std::iter::repeat_n("./", 2100).collect::<String>().into();
    invalid(&long.join("pool.db"), "4,090 bytes");
    fs::write(&path, b"a file").unwrap();
    invalid(&path.join("below-a-file"), "directory");
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    symlink(&one, &two).unwrap();
    symlink(&two, &one).unwrap();
    invalid(&one, "symbolic links");
    let dangling = directory.path().join("dangling");
    symlink(directory.path().join("nowhere"), &dangling).unwrap();
    invalid(&dangling, "symbolic link");
}

fn name_without_room_for_the_name_of_its_lock_file_is_refused<S: Store>() {
    let (directory, _) = place();
    let open_if = |fits: bool, path: &Path| match fits {
        true => close_checked(open::<S>(path)),
        false => refused_open::<S>(path, PM_ERR_INVALID_PATH).says(&["4,090 bytes", "250"]),
    };
    for len in 245..=256 {
        let path = directory.path().join("n".repeat(len));
        open_if(len + "-lock".len() <= 255, &path);
    }
    // The whole path's limit is 4096 bytes with the byte that ends it.
    let mut deep = directory.path().to_path_buf();
    while deep.as_os_str().len() < 4080 {
        let left = 4081 - deep.as_os_str().len();
        deep.push("d".repeat(left.min(201) - 1));
    }
    fs::create_dir_all(&deep).unwrap();
    for len in 4085..=4095 {
        let path = deep.join("n".repeat(len - deep.as_os_str().len() - 1));
        assert_eq!(path.as_os_str().len(), len);
        open_if(len + "-lock".len() < 4096, &path);
    }
}

fn missing_file_or_directory_is_refused<S: Store>() {
    let (directory, path) = place();
    let failure = refused_by_name::<S>(&directory.path().join("none/pool.db"), PM_ERR_NO_SUCH_FILE);
    failure.says(&["create the directory"]);
    // Read-only, the store itself has to be there.
    let before = Trace::of(&path);
    let failure = refused(S::open(&path, &READ_ONLY), PM_ERR_NO_SUCH_FILE);
    failure.says(&[path.to_str().unwrap()]);
    assert_eq!(Trace::of(&path), before);
}

fn new_store_is_its_owners_alone<S: Store>() {
    let (directory, path) = place();
    let store = open::<S>(&path);
    add(&store, "a");
    check(&store);
    for name in ["pool.db", "pool.db-lock"] {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    assert_eq!(Trace::of(&path).beside, ["pool.db", "pool.db-lock"]);
}
