//! A disk that fails while the kernel writes pages of a deferred commit to it in the background.
//! The kernel then drops these pages from its cache at some time, and the next read finds what the
//! disk had before.

use super::*;
use std::os::unix::fs::FileExt;

/// Data pages of the store, by content as it was, and as `write` leaves it, which has changed.
fn changed_pages(path: &Path, write: impl FnOnce()) -> Vec<(u64, Vec<u8>)> {
    let before = std::fs::read(path).unwrap();
    write();
    let after = std::fs::read(path).unwrap();
    let pages = before.chunks(4096).zip(after.chunks(4096)).enumerate();
    let changed = pages.skip(2).filter(|(_, (before, after))| before != after);
    changed
        .map(|(page, (before, _))| (page as u64 * 4096, before.to_vec()))
        .collect()
}

/// Writes the former content of these pages, as if the system had given them up.
fn lose(path: &Path, pages: &[(u64, Vec<u8>)]) {
    assert!(!pages.is_empty());
    let file = std::fs::File::options().write(true).open(path).unwrap();
    for (at, before) in pages {
        file.write_all_at(before, *at).unwrap();
    }
}

/// The commit that would be undone was acknowledged. The process that made it goes on after it, and
/// its number, and its pages, would be another's.
#[test]
fn lost_commit_of_a_store_in_use_is_not_undone_before_that_is_closed() {
    // The first is deferred behind a commit that was flushed, the others behind anchors.
    for count in 1..4 {
        let (_directory, path) = place();
        drop(patient().open(&path).map(|store| add(&store, "flushed")));
        let mut user = Peer::start("processes::remote", &path);
        user.expect("ready");
        for number in 1..count {
            user.order(&format!("defer kept-{number}"), "ok");
        }
        let lost = changed_pages(&path, || user.order("defer lost", "ok"));
        lose(&path, &lost);
        let left_behind = std::fs::read(&path).unwrap();
        let error = error_of(patient().open(&path));
        assert!(matches!(error, Error::AlreadyOpen { .. }), "{error:?}");
        assert!(error.to_string().contains("lost pages"), "{error}");
        let look = patient().read_only(true).open(&path).unwrap();
        assert_eq!((stats(&look).is_copy, names(&look).len()), (true, count));
        drop(look);
        assert_eq!(std::fs::read(&path).unwrap(), left_behind);
        user.kill();
        let store = patient().open(&path).unwrap();
        assert!(store.undone_at_open().is_some());
        assert_eq!(names(&store).len(), count);
        add(&store, "next");
        check(&store);
        store.close().unwrap();
        assert_eq!(left(&path).len(), count + 1);
    }
}

/// The system reports it to the next flush of each process.
#[test]
fn process_whose_deferred_commit_is_lost_stops_before_it_writes_after_it() {
    for count in 1..4 {
        let (_directory, path) = place();
        let store = patient().open(&path).unwrap();
        add(&store, "flushed");
        for number in 1..count {
            add(&store.deferred(), format!("kept-{number}"));
        }
        let lost = changed_pages(&path, || drop(add(&store.deferred(), "lost")));
        lose(&path, &lost);
        let error = sys::with_errno(sys::FLUSHES, libc::EIO, None, || error_of(store.sync()));
        assert_eq!(error.os_error(), Some(libc::EIO), "{error:?}");
        let error = error_of(store.add_device(&mut device("next")));
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert_error!(store.close(), Error::WritesStopped { .. });
        let store = patient().open(&path).unwrap();
        assert!(store.undone_at_open().is_some());
        assert_eq!(names(&store).len(), count);
        add(&store, "next");
        check(&store);
    }
}

/// A process writes the anchor of a commit and flushes both. If that fails, it undoes the commit
/// and puts the former anchor back; if that fails as well, the anchor alone is left. No process
/// uses that commit.
#[test]
fn anchor_of_a_commit_that_was_undone_keeps_nobody_from_opening_a_store_in_use() {
    const ANCHOR: std::ops::Range<usize> = 512..648;
    for count in 2..5 {
        let (_directory, path) = place();
        let mut user = Peer::start("processes::remote", &path);
        user.expect("ready");
        let mut writer = Peer::start("processes::remote", &path);
        writer.expect("ready");
        writer.order("add flushed", "ok");
        for number in 0..count {
            writer.order(&format!("defer kept-{number}"), "ok");
        }
        let mut kept = std::fs::read(&path).unwrap();
        writer.order("add undone", "ok");
        writer.kill();
        let with_anchor = std::fs::read(&path).unwrap();
        for page in [0, 4096] {
            let anchor = page + ANCHOR.start..page + ANCHOR.end;
            kept[anchor.clone()].copy_from_slice(&with_anchor[anchor]);
        }
        lose(&path, &[(0, kept)]);
        let store = patient().open(&path).unwrap();
        assert!(!has_anchors(&path));
        assert_eq!(names(&store).len(), count + 1);
        user.order("add by-user", "ok");
        add(&store, "next");
        check(&store);
        drop((user, store));
        assert_eq!(left(&path).len(), count + 3);
    }
}
