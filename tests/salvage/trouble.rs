//! Files in which there is nothing, full and failing disks, and damage of any kind at random.

use super::*;

#[test]
fn files_in_which_there_is_nothing() {
    let (directory, path, _) = lived_in();
    let at = |name: &str| directory.path().join(name);
    let salvage = |path: &Path| options(50).salvage(path, at("target"), 9);
    for (name, bytes) in [
        ("empty", vec![]),
        ("zeros", vec![0; 50_000]),
        ("bbolt", raw::bbolt_file()),
    ] {
        std::fs::write(at(name), bytes).unwrap();
        assert_error!(salvage(&at(name)), Error::NotAStore { .. });
    }
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"header".to_vec(), b"v".to_vec())]);
    });
    assert_error!(salvage(&at("foreign")), Error::NotAStore { .. });
    assert_error!(salvage(&at("none")), Error::NoSuchFile { .. });
    assert_error!(salvage(directory.path()), Error::NotRegularFile { .. });
    assert_error!(
        options(50).salvage(&path, at("no/where"), 9),
        Error::NoSuchFile { .. }
    );
    assert_error!(
        options(50).salvage(&path, &path, 9),
        Error::FileExists { .. }
    );
    assert_error!(
        options(50).salvage(&path, at("empty"), 9),
        Error::FileExists { .. }
    );
    let store = PoolMetadata::open(&path).unwrap();
    assert_error!(salvage(&path), Error::AlreadyOpen { .. });
    store.close().unwrap();
    assert!(!at("target").exists() && !at("target.salvaging").exists());
    // An empty store is one, too.
    PoolMetadata::open(at("fresh")).unwrap().close().unwrap();
    let found = salvage(&at("fresh")).unwrap();
    assert!(found.complete && found.devices == 0);
    check(&PoolMetadata::open(at("target")).unwrap());
    // Whatever is damaged of it but the header row.
    let mut bytes = std::fs::read(at("fresh")).unwrap();
    bytes[..PAGE].fill(0);
    std::fs::write(at("fresh"), bytes).unwrap();
    let target = at("second");
    let found = options(50).salvage(at("fresh"), &target, 9).unwrap();
    assert!(!found.complete && found.devices == 0);
    check(&PoolMetadata::open(target).unwrap());
}

/// The new store would be made over it.
#[test]
fn a_file_under_the_name_of_the_draft_is_left_as_it_is() {
    let (directory, path, _) = lived_in();
    let draft = directory.path().join("target.salvaging");
    std::fs::rename(&path, &draft).unwrap();
    let before = std::fs::read(&draft).unwrap();
    let target = directory.path().join("target");
    let salvaged = options(50).salvage(&draft, &target, 9);
    assert_error!(salvaged, Error::InvalidPath { .. });
    assert!(std::fs::read(&draft).unwrap() == before && !target.exists());
}

#[test]
fn a_disk_that_is_full_or_fails_leaves_nothing_behind() {
    let (_directory, path, _) = lived_in();
    let target = path.with_extension("salvaged");
    for (calls, errno) in [
        (sys::WRITES, libc::ENOSPC),
        (sys::WRITES, libc::EIO),
        (sys::FLUSHES, libc::EIO),
        (&[libc::SYS_renameat2][..], libc::EIO),
    ] {
        let run = || options(100).salvage(&path, &target, 9);
        let error = error_of(sys::with_errno(calls, errno, None, run));
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 2, "the store and its lock file: {left:?}");
    }
    OpenOptions::new().salvage(&path, &target, 9).unwrap();
}

proptest! {
    #![proptest_config(properties(60))]

    /// Whatever happens to a file: what comes out is a sound store, of records that were written at some time; and what
    /// is on pages that nothing happened to is there as it was last.
    #[test]
    fn nothing_is_made_up_and_nothing_whole_is_lost(
        hits in prop::collection::vec((any::<u32>(), 0_u8..6, any::<u32>()), 1..12),
    ) {
        let (_directory, path, history) = lived_in();
        let old = contents(&path);
        let sound = Pages::read(&path);
        let mut pages = sound.clone();
        let count = pages.0.len() / PAGE;
        for (page, how, what) in hits {
            let at = page as usize % count * PAGE;
            let other = what as usize % count * PAGE;
            match how {
                0 => pages.0[at + what as usize % PAGE] ^= 1 << (what % 8),
                1 => pages.0[at..at + PAGE].fill(0),
                2 => pages.0[at..at + PAGE].fill(what as u8),
                3 => pages.0.copy_within(other..other + PAGE, at),
                4 => {
                    let start = at + what as usize % PAGE;
                    let end = (start + 512).min(at + PAGE);
                    pages.0[start..end].fill(what as u8);
                }
                _ => {
                    let copy = pages.0[at..at + PAGE].to_vec();
                    pages.0.copy_within(other..other + PAGE, at);
                    pages.0[other..other + PAGE].copy_from_slice(&copy);
                }
            }
        }
        pages.write(&path);
        let salvaged = salvage(&path);
        assert_whole_is_there(&sound, &pages, &old, &history, &salvaged);
    }
}
