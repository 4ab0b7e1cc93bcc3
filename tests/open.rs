//! What open must refuse: each with its own error that names the path, and whatever is there stays
//! as it was.

mod common;

use common::{add, check, place, raw, sys};
use pool_metadata::{Error, OpenOptions, PoolMetadata, Verify};
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

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

/// Opens the path in every way, which has to fail without a trace; the error of the last.
fn refused(path: &Path, expected: impl Fn(&Error) -> bool) -> Error {
    let before = Trace::of(path);
    let mut last = None;
    for read_only in [true, false] {
        for verify in [Verify::None, Verify::Quick, Verify::Full] {
            let mut options = OpenOptions::new();
            let opened = options.read_only(read_only).verify(verify).open(path);
            let error = opened.expect_err("it should have been refused");
            assert!(expected(&error), "{error:?}");
            assert_eq!(Trace::of(path), before, "after {error}");
            last = Some(error);
        }
    }
    last.unwrap()
}

/// The same for an error whose message must name the path as it is.
fn refused_by_name(path: &Path, expected: impl Fn(&Error) -> bool) -> String {
    let message = refused(path, expected).to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

/// A closed store with some devices, and how many bytes of its file are in use.
fn store_with(devices: usize) -> (tempfile::TempDir, PathBuf, u64) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for number in 0..devices {
        add(&store, format!("device-{number}"));
    }
    check(&store);
    let used = store.stats().unwrap().map_used;
    store.close().unwrap();
    (directory, path, used)
}

#[test]
fn what_is_no_regular_file() {
    let (directory, path) = place();
    let kind = |path: &Path, expected: &str| {
        let message = refused_by_name(
            path,
            |e| matches!(e, Error::NotRegularFile { kind, .. } if *kind == expected),
        );
        assert!(message.contains(expected));
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

#[test]
fn files_of_no_known_kind() {
    let (_directory, path) = place();
    let not_a_store = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        refused_by_name(&path, |e| matches!(e, Error::NotAStore { .. }))
    };
    assert!(not_a_store(b"just some text\n").contains("just som"));
    assert!(not_a_store(&[0; 3]).contains("zeros"));
    assert!(not_a_store(&[0; 300_000]).contains("zeros"));
    assert!(not_a_store(b"\xff\x00\x1b[31m").is_ascii());
    not_a_store(&b"#!/bin/sh\n".repeat(10_000));
    fs::write(&path, b"").unwrap();
    let message = refused_by_name(&path, |e| matches!(e, Error::Corrupt { .. }));
    assert!(message.contains("empty"), "{message}");
}

#[test]
fn a_bbolt_file() {
    let (_directory, path) = place();
    let whole = raw::bbolt_file();
    // As its library writes it, with its first meta page lost, and cut short.
    let mut half = whole.clone();
    half[..4096].fill(0xaa);
    for bytes in [&whole[..], &half[..], &whole[..4096], &whole[..200]] {
        fs::write(&path, bytes).unwrap();
        let message = refused_by_name(&path, |e| matches!(e, Error::BboltFile { .. }));
        assert!(message.contains("bbolt"), "{message}");
    }
}

#[test]
fn lmdb_files_of_somebody_else() {
    let (directory, path) = place();
    let rows = |count: usize, len: usize| {
        (0..count).map(move |n| (format!("key-{n}").into_bytes(), vec![b'v'; len]))
    };
    let foreign = |name: &str, fill: &dyn Fn(&lmdb::Environment)| {
        let path = directory.path().join(name);
        raw::foreign(&path, fill);
        refused_by_name(&path, |e| matches!(e, Error::ForeignLmdb { .. }));
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
    refused_by_name(&path, |e| matches!(e, Error::ForeignLmdb { .. }));
}

#[test]
fn a_store_of_a_newer_format() {
    let (_directory, path, _) = store_with(5);
    for format in [2_u16, 300, u16::MAX] {
        raw::edit(&path, |txn, tables| {
            raw::rewrite(txn, tables.main, b"header", |row| {
                row[8..10].copy_from_slice(&format.to_le_bytes());
                raw::seal(b"header", row);
            });
        });
        let message = refused_by_name(
            &path,
            |e| matches!(e, Error::NewerFormat { found, known: 1, .. } if *found == format),
        );
        assert!(message.contains(&format.to_string()), "{message}");
    }
}

#[test]
fn a_file_cut_short_anywhere() {
    let (_directory, path, used) = store_with(3000);
    let file = fs::File::options().write(true).open(&path).unwrap();
    // What lies behind the last page is room for later: a store without it is whole.
    file.set_len(used).unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    check(&store);
    store.close().unwrap();

    let mut lengths: Vec<u64> = (1..used / 4096).map(|page| page * 4096).collect();
    lengths.extend([used - 1, 4095, 4097, 8191, 8193, 12287, 152, 151, 100, 20]);
    lengths.sort_unstable();
    for len in lengths.into_iter().rev() {
        file.set_len(len).unwrap();
        let message = refused_by_name(&path, |e| matches!(e, Error::Corrupt { .. }));
        assert!(message.contains("cut short"), "{len}: {message}");
    }
    // Nothing is left by which a store could be told.
    for len in [19, 8, 1] {
        file.set_len(len).unwrap();
        refused_by_name(&path, |e| matches!(e, Error::NotAStore { .. }));
    }
}

#[test]
fn a_store_whose_first_pages_are_damaged() {
    let (_directory, path, _) = store_with(50);
    let whole = fs::read(&path).unwrap();
    let page = |number: usize| number * 4096..(number + 1) * 4096;
    for (range, byte) in [(page(0), 0xaa), (page(0), 0), (page(1), 0), (page(1), 0xff)] {
        let mut bytes = whole.clone();
        bytes[range].fill(byte);
        fs::write(&path, bytes).unwrap();
        let message = refused_by_name(&path, |e| matches!(e, Error::Corrupt { .. }));
        assert!(message.contains("meta page"), "{message}");
    }
    // Everything behind them is gone: the root is not a page any more.
    let mut bytes = whole.clone();
    bytes[8192..].fill(0);
    fs::write(&path, bytes).unwrap();
    refused_by_name(&path, |e| matches!(e, Error::Corrupt { .. }));
    fs::write(&path, whole).unwrap();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn a_damaged_header_row() {
    let (_directory, path, _) = store_with(5);
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |row| row[12] ^= 1);
    });
    let message = refused_by_name(&path, |e| matches!(e, Error::Corrupt { .. }));
    assert!(message.contains("header"), "{message}");
}

#[test]
fn paths_that_can_be_nothing() {
    use std::os::unix::ffi::OsStringExt;
    let (directory, path) = place();
    let invalid =
        |path: &Path| refused(path, |e| matches!(e, Error::InvalidPath { .. })).to_string();
    assert!(invalid(Path::new("")).contains("empty"));
    let nul = OsString::from_vec(b"pool\0.db".to_vec());
    assert!(invalid(&directory.path().join(nul)).contains("NUL"));
    assert!(invalid(&directory.path().join("new.db/")).contains("slash"));
    let long: PathBuf = std::iter::repeat_n("./", 2100).collect::<String>().into();
    assert!(invalid(&long.join("pool.db")).contains("longer"));
    fs::write(&path, b"a file").unwrap();
    invalid(&path.join("below-a-file"));
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    symlink(&one, &two).unwrap();
    symlink(&two, &one).unwrap();
    assert!(invalid(&one).contains("symbolic links"));
}

#[test]
fn a_name_with_no_room_for_the_lock_files_name() {
    let (directory, _) = place();
    let tell = |path: &Path, fits: bool| match fits {
        true => check(&PoolMetadata::open(path).unwrap()),
        false => drop(refused(path, |e| matches!(e, Error::InvalidPath { .. }))),
    };
    for len in 245..=256 {
        let path = directory.path().join("n".repeat(len));
        tell(&path, len + "-lock".len() <= 255);
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
        tell(&path, len + "-lock".len() < 4096);
    }
}

#[test]
fn what_is_not_there() {
    let (directory, path) = place();
    let missing = |path: &Path| refused_by_name(path, |e| matches!(e, Error::NoSuchFile { .. }));
    assert!(missing(&directory.path().join("none/pool.db")).contains("create the directory"));
    let link = directory.path().join("link");
    symlink(directory.path().join("nowhere"), &link).unwrap();
    let message = refused(&link, |e| matches!(e, Error::InvalidPath { .. })).to_string();
    assert!(message.contains("symbolic link"), "{message}");
    // Read-only, the store itself has to be there.
    let before = Trace::of(&path);
    let error = common::error_of(OpenOptions::new().read_only(true).open(&path));
    assert!(matches!(error, Error::NoSuchFile { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
    assert_eq!(Trace::of(&path), before);
}

#[test]
fn options_that_cannot_be() {
    let (_directory, path) = place();
    let before = Trace::of(&path);
    let refused = |options: &OpenOptions, name| {
        assert_error!(options.open(&path), Error::InvalidOption { option, .. } if option == name);
        assert_eq!(Trace::of(&path), before);
    };
    let limit = OpenOptions::MAX_MAP_SIZE;
    refused(OpenOptions::new().map_size(limit + 1), "map_size");
    refused(OpenOptions::new().map_size(u64::MAX), "map_size");
    let limit = OpenOptions::MAX_MAX_READERS;
    refused(OpenOptions::new().max_readers(limit + 1), "max_readers");
    refused(OpenOptions::new().max_readers(u32::MAX), "max_readers");
    // Too little is raised to what is needed.
    let mut options = OpenOptions::new();
    let store = options.map_size(0).max_readers(0).open(&path).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(stats.max_readers, OpenOptions::MIN_MAX_READERS.into());
    assert_eq!(stats.map_size, 1 << 20);
    check(&store);
}

#[test]
fn a_new_store_is_its_owners_alone() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    check(&store);
    for name in ["pool.db", "pool.db-lock"] {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    assert_eq!(Trace::of(&path).beside, ["pool.db", "pool.db-lock"]);
}
