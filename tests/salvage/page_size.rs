//! The page size, which each meta page says, and the place of every other page shows.

use super::*;

/// Where the page size is in a meta page.
const AT: usize = HEADER + 24;

/// One wrong number leads to none of the pages. Nothing is lost by it: the rest of the file shows
/// the right one.
#[test]
fn damaged_page_size_loses_no_device_and_brings_none_back() {
    for filled_at_once in [true, false] {
        let (directory, mut path, _) = lived_in();
        if filled_at_once {
            let compact = directory.path().join("compact");
            let store = PoolMetadata::open(&path).unwrap();
            let mut options = pool_metadata::BackupOptions::new();
            store.backup(&compact, options.compact(true)).unwrap();
            path = compact;
        }
        let old = contents(&path);
        let sound = Pages::read(&path);
        for meta in [0, 1] {
            for size in [0, 512, 2048, 4097, 8192, 16384, 32768, 65536] {
                let mut pages = sound.clone();
                pages.put32(meta * PAGE + AT, size);
                pages.write(&path);
                let message = error_of(PoolMetadata::open(&path)).to_string();
                let which = ["first", "second"][meta];
                for word in [which, "page size", &size.to_string()] {
                    assert!(message.contains(word), "{meta} {size}: {message}");
                }
                let (found, target) = salvage(&path);
                assert!(found.complete, "{meta} {size}: {:?}", kinds(&found));
                assert!(contents(&target) == old, "{meta} {size}");
            }
        }
        // The other meta page is lost as a whole, or both sizes are wrong alike.
        for size in [0, 8192, 16384, 32768] {
            let mut pages = sound.clone();
            pages.put32(AT, size);
            wipe(&mut pages, 1);
            pages.write(&path);
            let (_, target) = salvage(&path);
            let names = |contents: &Contents| contents.devices.keys().cloned().collect::<Vec<_>>();
            assert!(names(&contents(&target)) == names(&old), "{size}");
            let mut pages = sound.clone();
            pages.put32(AT, size);
            pages.put32(PAGE + AT, size);
            pages.write(&path);
            let (found, target) = salvage(&path);
            assert!(found.complete && contents(&target) == old, "{size}");
        }
    }
}
