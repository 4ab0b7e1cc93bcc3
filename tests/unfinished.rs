//! A store whose newest commit a power cut has left half written. `tests/powercut` makes them in
//! every way; what each kind of open says of one is here.

#![allow(unsafe_code)]

mod common;

use common::{add, check, devices, error_of, options, place, raw};
use pool_metadata::capi::{pm_restore, PM_ERR_UNFINISHED};
use pool_metadata::{
    DeviceInfo, DeviceState, Error, OpenOptions, PoolMetadata, RepairOptions, Verify,
};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::Duration;

const PAGE: usize = 4096;
const MARK: std::ops::Range<usize> = 160..192;
const LEVELS: [Verify; 3] = [Verify::None, Verify::Quick, Verify::Full];

/// The file of a store in which a page of the newest commit is what it was before that; and the
/// devices of the commit before.
fn unfinished(path: &Path) -> (Vec<u8>, Vec<DeviceInfo>) {
    let store = PoolMetadata::open(path).unwrap();
    for n in 0..100 {
        add(&store, format!("device-{n}"));
    }
    let (before, held) = (std::fs::read(path).unwrap(), devices(&store));
    add(&store, "one more");
    store.close().unwrap();
    let mut file = std::fs::read(path).unwrap();
    let changed = |page: &usize| file[page * PAGE..][..PAGE] != before[page * PAGE..][..PAGE];
    let page = (2..before.len() / PAGE).find(changed).unwrap() * PAGE;
    file[page..][..PAGE].copy_from_slice(&before[page..][..PAGE]);
    clear_marks(&mut file);
    (file, held)
}

fn clear_marks(file: &mut [u8]) {
    for meta in 0..2 {
        file[meta * PAGE..][MARK].fill(0);
    }
}

#[test]
fn unfinished_commit_is_undone_and_reported_at_every_level_of_verification() {
    let (_directory, path) = place();
    let (file, held) = unfinished(&path);
    for level in LEVELS {
        std::fs::write(&path, &file).unwrap();
        let store = OpenOptions::new().verify(level).open(&path).unwrap();
        assert_eq!(devices(&store), held);
        check(&store);
        assert_eq!(store.stats().unwrap().undone_commits, 1);
        let why = store.undone_at_open().unwrap();
        assert!(why.contains("commit was half written"), "{why}");
        add(&store, "after");
        store.close().unwrap();
        let store = OpenOptions::new().read_only(true).open(&path).unwrap();
        assert_eq!(devices(&store).len(), held.len() + 1);
        assert_eq!(
            (
                store.stats().unwrap().undone_commits,
                store.undone_at_open()
            ),
            (0, None)
        );
    }
}

/// The next commit gets the places of the one that was undone, and the disk still has most of that.
/// So a cut of the next one could complete the one before, which nobody has asked for again.
#[test]
fn undone_commit_is_not_completed_by_a_later_one_that_is_cut_off() {
    let (_directory, path) = place();
    let (file, held) = unfinished(&path);
    let whole = std::fs::read(&path).unwrap();
    let page = |bytes: &[u8], at: usize| bytes[at * PAGE..][..PAGE].to_vec();
    let lost = |at: &usize| page(&whole, *at) != page(&file, *at);
    let lost = (2..whole.len() / PAGE).find(lost).unwrap();
    let last = held.iter().map(|device| device.generation).max().unwrap();
    let mut left = file;
    for attempt in 0..3 {
        std::fs::write(&path, &left).unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        assert!(store.undone_at_open().is_some(), "attempt {attempt}");
        assert_eq!(devices(&store), held);
        left = std::fs::read(&path).unwrap();
        // As long as the other, so that it takes the same pages.
        add(&store, "one else");
        let generation = store.get_device("one else").unwrap().generation;
        assert_eq!(generation, last + 2 + attempt);
        store.close().unwrap();
        let next = std::fs::read(&path).unwrap();
        // Of the next commit, the disk has the meta page, and what happens to complete the other.
        let meta = [0, 1].map(|at| page(&next, at));
        let fields = |bytes: &[u8]| [0, 1].map(|at| bytes[at * PAGE + 24..][..136].to_vec());
        assert_eq!(fields(&next), fields(&whole), "it has taken other pages");
        for at in [0, 1] {
            left[at * PAGE..][..PAGE].copy_from_slice(&meta[at]);
        }
        left[lost * PAGE..][..PAGE].copy_from_slice(&page(&whole, lost));
        // Its flush was cut off, so no mark names it.
        let newest = |at: &usize| u64::from_le_bytes(meta[*at][144..152].try_into().unwrap());
        let older = [0, 1].into_iter().min_by_key(newest).unwrap();
        left[older * PAGE..][MARK].fill(0);
    }
}

/// All pages of a commit can be on the disk and not its meta page, which nothing shows. The next
/// one gets its number and its places, and a cut of that must not complete the one before.
#[test]
fn commit_of_which_the_disk_lacks_the_meta_page_alone_does_not_come_back() {
    let activate = |store: &PoolMetadata, name: &str| {
        let activated = store.change_device_state(name, DeviceState::Activated);
        activated.unwrap();
    };
    for has_mark in [false, true] {
        let (_directory, path) = place();
        let store = PoolMetadata::open(&path).unwrap();
        for name in ["a", "b", "c"] {
            add(&store, name);
        }
        let (mut before, held) = (std::fs::read(&path).unwrap(), devices(&store));
        if !has_mark {
            clear_marks(&mut before);
        }
        activate(&store, "a");
        store.close().unwrap();
        let lost = std::fs::read(&path).unwrap();
        let mut left = lost.clone();
        left[..2 * PAGE].copy_from_slice(&before[..2 * PAGE]);
        // The second round loses what a process writes that finds the first one's pages.
        for name in ["b", "c", "b"] {
            std::fs::write(&path, &left).unwrap();
            let store = PoolMetadata::open(&path).unwrap();
            assert_eq!(
                (devices(&store), store.undone_at_open()),
                (held.clone(), None)
            );
            activate(&store, name);
            store.close().unwrap();
            let next = std::fs::read(&path).unwrap();
            let fields = |bytes: &[u8]| [0, 1].map(|at| bytes[at * PAGE + 24..][..136].to_vec());
            assert_eq!(fields(&next), fields(&lost), "it has taken other pages");
            // Of that, the disk has the meta page alone. No mark names it, since it was cut off.
            let mut cut = left.clone();
            cut[..2 * PAGE].copy_from_slice(&next[..2 * PAGE]);
            clear_marks(&mut cut);
            std::fs::write(&path, &cut).unwrap();
            let store = PoolMetadata::open(&path).unwrap();
            assert_eq!(devices(&store), held, "{name}");
            assert!(store.undone_at_open().is_some());
            store.close().unwrap();
            // Or it has all of its pages, and not the meta page.
            left[2 * PAGE..].copy_from_slice(&next[2 * PAGE..]);
        }
    }
}

/// Of a durable commit behind deferred ones, the disk may have the anchor and some pages, and not
/// the meta page. The next commit gets its number and its places, so it leaves out numbers.
#[test]
fn commit_of_which_the_disk_has_the_anchor_alone_does_not_come_back() {
    let (_directory, path) = place();
    let store = options(100)
        .deferred_age(Duration::from_secs(3600))
        .open(&path)
        .unwrap();
    for n in 0..20 {
        add(&store, format!("device-{n}"));
    }
    for n in 0..4 {
        add(&store.deferred(), format!("deferred-{n}"));
    }
    let (mut left, held) = (std::fs::read(&path).unwrap(), devices(&store));
    add(&store, "one more");
    let lost = store.get_device("one more").unwrap().generation;
    let whole = std::fs::read(&path).unwrap();
    store.close().unwrap();
    let changed = |page: &usize| left[page * PAGE..][..PAGE] != whole[page * PAGE..][..PAGE];
    let pages: Vec<_> = (2..left.len() / PAGE).filter(changed).collect();
    for page in &pages[1..] {
        left[page * PAGE..][..PAGE].copy_from_slice(&whole[page * PAGE..][..PAGE]);
    }
    for page in [0, PAGE] {
        left[page + 512..page + PAGE].copy_from_slice(&whole[page + 512..page + PAGE]);
    }
    std::fs::write(&path, &left).unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    assert!(store.undone_at_open().is_some());
    assert_eq!(devices(&store), held);
    add(&store, "one else");
    assert!(store.get_device("one else").unwrap().generation > lost);
    check(&store);
}

/// The size of a store is what its meta page says, and nothing has vouched for that.
#[test]
fn unfinished_commit_that_claims_a_huge_file_is_undone() {
    let (_directory, path) = place();
    let (mut file, held) = unfinished(&path);
    let newest = |page: &usize| file[page + 144..page + 152].to_vec();
    let at = [0, PAGE].into_iter().max_by_key(newest).unwrap() + 136;
    for bit in [40, 50, 62] {
        file[at..at + 8].copy_from_slice(&(1u64 << bit).to_le_bytes());
        std::fs::write(&path, &file).unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        assert!(store.undone_at_open().is_some(), "bit {bit}");
        assert_eq!(devices(&store), held);
    }
}

#[test]
fn unfinished_commit_is_not_seen_by_read_only_handles() {
    let (_directory, path) = place();
    let (file, held) = unfinished(&path);
    std::fs::write(&path, &file).unwrap();
    for level in LEVELS {
        let mut how = OpenOptions::new();
        let store = how.verify(level).read_only(true).open(&path).unwrap();
        assert_eq!(devices(&store), held);
        check(&store);
        assert!(store.stats().unwrap().is_copy);
    }
    assert!(options(100).check_file(&path, 10).unwrap().is_sound());
    assert_eq!(std::fs::read(&path).unwrap(), file, "nothing has changed");
}

/// A backup is a whole file: one that is not was never finished, or was in use when it was copied.
#[test]
fn restore_of_a_file_with_an_unfinished_commit_is_refused() {
    let (directory, path) = place();
    let (file, _) = unfinished(&path);
    let backup = directory.path().join("backup.db");
    std::fs::write(&backup, &file).unwrap();
    let restored = directory.path().join("restored.db");
    let error = error_of(PoolMetadata::restore(&backup, &restored));
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(backup.to_str().unwrap()), "{message}");
    assert!(message.contains("open it once"), "{message}");
    let (from, to) = (backup.to_str().unwrap(), restored.to_str().unwrap());
    let (from, from_len) = (from.as_ptr().cast(), from.len());
    let (to, to_len) = (to.as_ptr().cast(), to.len());
    // SAFETY: the paths have as many bytes, and the other pointers may be NULL.
    let code = unsafe {
        let (options, numbers, kept) = (null(), null_mut(), null_mut());
        pm_restore(
            from,
            from_len,
            to,
            to_len,
            options,
            numbers,
            kept,
            null_mut(),
        )
    };
    assert_eq!(code, PM_ERR_UNFINISHED);
    assert!(!restored.exists());
    // Opened as a store, it can be backed up.
    PoolMetadata::open(&backup).unwrap().close().unwrap();
    PoolMetadata::restore(&backup, &restored).unwrap();
}

/// A commit that is known to have been flushed was whole, so a page that does not fit to it is
/// damaged.
#[test]
fn damaged_page_of_a_flushed_commit_is_damage() {
    let (_directory, path) = place();
    let (mut file, _) = unfinished(&path);
    raw::mark(&mut file);
    std::fs::write(&path, &file).unwrap();
    for read_only in [false, true] {
        let opened = OpenOptions::new().read_only(read_only).open(&path);
        assert_error!(opened, Error::Corrupt { .. });
    }
    assert_eq!(std::fs::read(&path).unwrap(), file, "nothing has changed");
}

/// The file of a store in which pages of the newest commit and of the one before are damaged.
fn damaged_twice(path: &Path) -> Vec<u8> {
    let (mut file, _) = unfinished(path);
    let name = b"device-42";
    let places: Vec<_> = (0..file.len() - name.len())
        .filter(|at| file[*at..].starts_with(name))
        .collect();
    for at in places {
        file[at + name.len() - 1] ^= 1;
    }
    std::fs::write(path, &file).unwrap();
    file
}

/// A store that is refused stays as it was: nothing is undone if the commit before is not sound
/// either.
#[test]
fn unfinished_commit_after_a_damaged_one_is_not_undone() {
    let (_directory, path) = place();
    let file = damaged_twice(&path);
    let refused = PoolMetadata::open(&path).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    let message = refused.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    let besides = "and its newest commit was half written";
    assert!(message.contains(besides), "{message}");
    assert!(std::fs::read(&path).unwrap() == file, "it has changed");
}

#[test]
fn unfinished_commit_after_a_damaged_one_is_not_undone_by_a_repair() {
    let (_directory, path) = place();
    let file = damaged_twice(&path);
    let refused = options(100).repair(&path, &RepairOptions::new());
    assert_error!(refused, Error::Corrupt { .. });
    assert!(std::fs::read(&path).unwrap() == file, "it has changed");
}

/// A page that only the commit before has can be damaged, too. The newest is whole then.
#[test]
fn commit_that_replaced_a_damaged_record_is_not_undone() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for n in 0..100 {
        add(&store, format!("device-{n}"));
    }
    let before = std::fs::read(&path).unwrap();
    let activated = store.change_device_state("device-42", DeviceState::Activated);
    activated.unwrap();
    let held = devices(&store);
    store.close().unwrap();
    let mut file = std::fs::read(&path).unwrap();
    clear_marks(&mut file);
    let name = b"device-42";
    for (page, before) in file.chunks_mut(PAGE).zip(before.chunks(PAGE)) {
        let found = page.windows(name.len()).position(|bytes| bytes == name);
        if let (Some(at), true) = (found, page == before) {
            // Its record, behind the name.
            page[at + name.len() + 1] ^= 1;
        }
    }
    for level in LEVELS {
        for read_only in [true, false] {
            std::fs::write(&path, &file).unwrap();
            let mut how = OpenOptions::new();
            let store = how.verify(level).read_only(read_only).open(&path).unwrap();
            assert_eq!(store.undone_at_open(), None);
            assert_eq!(devices(&store), held, "{level:?}");
            store.verify().unwrap();
        }
    }
}
