//! The file format: a file that was written once and is kept must be read by every later release,
//! and what a release writes must be the same bytes, row by row, until the format's version says
//! otherwise.

mod common;

use common::peer::Peer;
use common::{
    check, counters, device, devices, error_of, lone_reader_shares, options, place, raw, skipped,
};
use lmdb::Transaction;
use pool_metadata::{
    BackupOptions, DeviceInfo, DeviceState, Error, OpenOptions, PoolMetadata, RepairOptions, Verify,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Set to write the fixture anew. That is for a new format only: the file then gets a new name.
const WRITE: &str = "PM_WRITE_FIXTURE";

/// The format that this release writes.
const CURRENT: u16 = 2;

fn fixture(format: u16) -> PathBuf {
    let name = format!("tests/fixtures/store-v{format}.db");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn longest_name() -> Vec<u8> {
    let mut name = vec![0xff; 511];
    name[0] = b'n';
    name
}

fn long_text() -> Vec<u8> {
    (0..20_000_u32).map(|n| (n % 251) as u8).collect()
}

/// What was done to the store in the fixture.
fn fill(store: &PoolMetadata) -> Result<(), Error> {
    let add = |name: &[u8], change: &dyn Fn(&mut DeviceInfo)| {
        let mut device = DeviceInfo::new(name);
        change(&mut device);
        store.add_device(&mut device)
    };
    for (number, state) in DeviceState::ALL.into_iter().enumerate() {
        add(format!("state-{number:02}").as_bytes(), &|device| {
            device.state = state;
            device.size = (number as u64) << 30;
            device.parent_name = b"base".to_vec();
        })?;
    }
    add(b"base", &|device| device.size = u64::MAX)?;
    // Faulty and added again: id 5 stays behind.
    store.mark_faulty("state-04")?;
    add(b"state-04", &|device| {
        device.error = b"once faulty".to_vec()
    })?;
    // Where the state alone was set, id 17 stays behind as well.
    add(b"replaced", &|_| {})?;
    store.change_device_state("replaced", DeviceState::Faulty)?;
    add(b"replaced", &|device| device.size = 300)?;
    // Ids 3 and 7 are given back and out again, 10 and 12 only back.
    store.remove_device("state-02")?;
    store.remove_device("state-06")?;
    add(&longest_name(), &|device| {
        device.parent_name = longest_name()
    })?;
    add(b"text", &|device| device.error = long_text())?;
    store.remove_device("state-09")?;
    store.remove_device("state-11")?;
    // A device with a faulty id that is on its way out.
    store.mark_faulty("base")?;
    store.change_device_state("base", DeviceState::Removing)
}

/// What is in the fixture: name, id, size, parent, state, error, generation.
fn expected() -> Vec<DeviceInfo> {
    use DeviceState::*;
    type Row<'a> = (&'a [u8], u32, u64, &'a [u8], DeviceState, &'a [u8], u64);
    let (name, text) = (longest_name(), long_text());
    let rows: [Row<'_>; 14] = [
        (b"base", 15, u64::MAX, b"", Removing, b"", 28),
        (&name, 3, 0, &name, Unknown, b"", 23),
        (b"replaced", 18, 300, b"", Unknown, b"", 20),
        (b"state-00", 1, 0, b"base", Unknown, b"", 1),
        (b"state-01", 2, 1 << 30, b"base", Creating, b"", 2),
        (b"state-03", 4, 3 << 30, b"base", Activating, b"", 4),
        (b"state-04", 16, 0, b"", Unknown, b"once faulty", 17),
        (b"state-05", 6, 5 << 30, b"base", Suspending, b"", 6),
        (b"state-07", 8, 7 << 30, b"base", Resuming, b"", 8),
        (b"state-08", 9, 8 << 30, b"base", Resumed, b"", 9),
        (b"state-10", 11, 10 << 30, b"base", Deactivated, b"", 11),
        (b"state-12", 13, 12 << 30, b"base", Removed, b"", 13),
        (b"state-13", 14, 13 << 30, b"base", Faulty, b"", 14),
        (b"text", 7, 0, b"", Unknown, &text, 24),
    ];
    let device =
        |(name, device_id, size, parent_name, state, error, generation): Row<'_>| DeviceInfo {
            name: name.to_vec(),
            device_id,
            size,
            parent_name: parent_name.to_vec(),
            state,
            error: error.to_vec(),
            generation,
        };
    rows.into_iter().map(device).collect()
}

/// The rows about ids: a state (0 free, 2 faulty) and the number.
fn expected_ids() -> Vec<Vec<u8>> {
    let rows = [(0, 10), (0, 12), (2, 5), (2, 15), (2, 17)];
    rows.map(|(state, id)| vec![state, 0, 0, 0, id]).to_vec()
}

/// The rows of the journal: the devices that were removed, by commit.
fn expected_journal() -> Vec<Vec<u8>> {
    let removal = |commit| [&[3, 0, 0, 0, 0, 0, 0, 0, commit], &[0; 4][..]].concat();
    [21, 22, 25, 26].map(removal).to_vec()
}

/// A copy of a fixture to work on.
fn copy(format: u16) -> (tempfile::TempDir, PathBuf) {
    if std::env::var_os(WRITE).is_some() {
        write_fixture();
    }
    let (directory, path) = place();
    fs::copy(fixture(format), &path).unwrap();
    (directory, path)
}

fn write_fixture() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let (_directory, path) = place();
        let store = PoolMetadata::open(&path).unwrap();
        fill(&store).unwrap();
        check(&store);
        let used = store.stats().unwrap().map_used;
        store.close().unwrap();
        // The room behind the last page is of no interest.
        let bytes = fs::read(&path).unwrap();
        fs::write(fixture(CURRENT), &bytes[..used as usize]).unwrap();
    });
}

/// Key and value of every row: the header's, and those of the tables.
fn rows(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    raw::edit(path, |txn, tables| {
        let header = txn.get(tables.main, b"header").unwrap();
        rows.push((b"header".to_vec(), header.to_vec()));
        for table in [tables.devices, tables.ids]
            .into_iter()
            .chain(tables.journal)
        {
            for key in raw::keys(txn, table) {
                let value = txn.get(table, &key).unwrap().to_vec();
                rows.push((key, value));
            }
        }
    });
    rows
}

/// The keys of all rows behind those of the devices.
fn other_keys(path: &Path) -> Vec<Vec<u8>> {
    let keys = rows(path).into_iter().map(|(key, _)| key);
    keys.skip(1 + expected().len()).collect()
}

/// Holds that the store has what the fixtures have.
fn assert_content(store: &PoolMetadata, commits: u64) {
    let count = counters(store);
    assert_eq!(count, [14, 13, 2, 3, 18, commits]);
    assert_eq!(devices(store), expected());
    for expected in &expected() {
        assert_eq!(&store.get_device(&expected.name).unwrap(), expected);
    }
    check(store);
    assert!(store.check(10).unwrap().is_sound());
}

#[test]
fn store_of_each_format_is_read_without_a_change() {
    for format in 1..=CURRENT {
        let (_directory, path) = copy(format);
        for verify in [Verify::None, Verify::Quick, Verify::Full] {
            let mut options = OpenOptions::new();
            options.read_only(true).verify(verify);
            let store = options.open(&path).unwrap();
            assert_content(&store, 28);
            store.close().unwrap();
        }
        let report = OpenOptions::new().check_file(&path, 10).unwrap();
        assert!(report.is_sound());
        let same = fs::read(&path).unwrap() == fs::read(fixture(format)).unwrap();
        assert!(same, "format {format}");
    }
}

#[test]
fn store_of_each_format_is_written() {
    for format in 1..=CURRENT {
        for verify in [Verify::None, Verify::Quick, Verify::Full] {
            let (_directory, path) = copy(format);
            let open = || OpenOptions::new().verify(verify).open(&path).unwrap();
            // An upgrade is a commit.
            let commits = 28 + u64::from(format < CURRENT);
            for _ in 0..2 {
                let store = open();
                assert_content(&store, commits);
                store.close().unwrap();
            }
            let removals = match format {
                1 => vec![],
                _ => expected_journal(),
            };
            assert_eq!(other_keys(&path), [expected_ids(), removals].concat());
            goes_on(&open(), commits);
            check(&open());
        }
    }
}

/// Holds that the store goes on where the fixtures are: the free ids first, and never a faulty one.
fn goes_on(store: &PoolMetadata, commits: u64) {
    for id in [10, 12, 19, 20] {
        let mut new = device(format!("new-{id}"));
        store.add_device(&mut new).unwrap();
        assert_eq!((new.device_id, new.generation > commits), (id, true));
    }
    assert_error!(
        store.add_device(&mut device("base")),
        Error::AlreadyExists { .. }
    );
    store.remove_device("base").unwrap();
    store.add_device(&mut device("state-13")).unwrap();
    store
        .update_device("text", |device| {
            assert_eq!(device.error, long_text());
            device.error.clear();
            Ok::<(), Error>(())
        })
        .unwrap();
    let count = counters(store);
    assert_eq!(count, [17, 17, 0, 3, 20, commits + 7]);
    check(store);
    store.close().unwrap();
}

#[test]
fn store_of_an_older_format_is_not_upgraded_while_another_process_has_it() {
    let (_directory, path) = copy(1);
    if !lone_reader_shares(&path) {
        return skipped("a PID namespace that is not a container's, and no overlayfs");
    }
    // Without a lock file, it would read a private copy.
    fs::write(raw::lock_path(&path), "").unwrap();
    let mut reader = Peer::start("format::read_on", &path);
    reader.expect("open");
    let error = error_of(options(50).open(&path));
    assert!(matches!(error, Error::AlreadyOpen { .. }), "{error:?}");
    assert!(error.to_string().contains("older format"), "{error}");
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    assert_content(&store, 28);
    store.close().unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(fixture(1)).unwrap());
    reader.finish();
    assert_content(&PoolMetadata::open(&path).unwrap(), 29);
}

#[test]
fn store_of_an_older_format_is_backed_up_restored_salvaged_and_repaired() {
    let (directory, path) = copy(1);
    let place = |name: &str| directory.path().join(name);
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    for compact in [false, true] {
        let backup = place(&format!("backup-{compact}"));
        let mut options = BackupOptions::new();
        store.backup(&backup, options.compact(compact)).unwrap();
        PoolMetadata::restore(&backup, place("restored")).unwrap();
        let restored = PoolMetadata::open(place("restored")).unwrap();
        assert_content(&restored, 29);
        restored.close().unwrap();
    }
    store.close().unwrap();
    let options = OpenOptions::new();
    let salvaged = options.salvage(&path, place("salvaged"), 10).unwrap();
    assert!(salvaged.complete && salvaged.report.is_sound());
    let store = PoolMetadata::open(place("salvaged")).unwrap();
    assert_eq!(devices(&store).len(), expected().len());
    store.close().unwrap();
    // A repair writes the header anew, and so it upgrades the store.
    for byte in [8, 12] {
        fs::copy(fixture(1), &path).unwrap();
        raw::edit(&path, |txn, tables| {
            raw::rewrite(txn, tables.main, b"header", |row| row[byte] ^= 0x80);
        });
        assert_error!(PoolMetadata::open(&path), Error::Corrupt { .. });
        let repaired = options.repair(&path, &RepairOptions::new()).unwrap();
        assert_eq!((repaired.before.total, repaired.after.total), (1, 0));
        let store = PoolMetadata::open(&path).unwrap();
        assert_eq!(devices(&store), expected());
        check(&store);
    }
}

#[test]
fn rows_written_today_are_those_of_the_fixture() {
    let (_directory, path) = copy(CURRENT);
    let (_new_directory, new_path) = place();
    let store = PoolMetadata::open(&new_path).unwrap();
    fill(&store).unwrap();
    assert_eq!(devices(&store), expected());
    check(&store);
    store.close().unwrap();
    let (kept, new) = (rows(&path), rows(&new_path));
    assert_eq!(kept.len(), 1 + 14 + 5 + 4);
    assert_eq!(kept.len(), new.len());
    for (kept, new) in kept.iter().zip(&new) {
        assert_eq!(kept, new, "the row of {}", kept.0.escape_ascii());
    }
}
