//! Full and failing disks, and damage of any kind at random.

use super::*;

/// A file of that name is removed before the new store is made.
#[test]
fn damaged_file_with_the_name_of_the_temporary_file_is_left_alone() {
    let (directory, path, _) = lived_in();
    let temporary = directory.path().join("target.salvaging-0123456789abcdef");
    std::fs::rename(&path, &temporary).unwrap();
    let before = std::fs::read(&temporary).unwrap();
    let target = directory.path().join("target");
    let salvaged = options(50).salvage(&temporary, &target, 9);
    assert_error!(salvaged, Error::InvalidPath { .. });
    assert!(std::fs::read(&temporary).unwrap() == before && !target.exists());
}

#[test]
fn disk_that_is_full_or_fails_leaves_nothing_behind() {
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

    /// The salvaged store is sound, and all its records were written at some time. Those on pages
    /// without damage are there in their last state.
    #[test]
    fn damage_at_random_makes_nothing_up_and_loses_nothing_whole(
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
