//! Damage to the few bytes by which a store is known as one: it is a damaged store still, and not
//! another program's file or a bug of the library.

use super::common::pages::{self, Pages, Tree, PAGE};
use super::{common, sound};
use pool_metadata::{Error, OpenOptions, PoolMetadata, Verify};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What opening the file at each level, and checking it, says; none of it is a surprise.
#[track_caller]
fn opens_or_is_damaged(path: &Path, what: &str) {
    for level in [Verify::None, Verify::Quick, Verify::Full] {
        let opened = OpenOptions::new().verify(level).read_only(true).open(path);
        assert_damaged(opened.map(|_| ()), path, what);
    }
    assert_damaged(
        OpenOptions::new().check_file(path, 10).map(|_| ()),
        path,
        what,
    );
}

#[track_caller]
fn assert_damaged(outcome: Result<(), Error>, path: &Path, what: &str) {
    match outcome {
        Ok(()) => {}
        Err(error @ Error::Corrupt { .. }) => {
            let message = error.to_string();
            let path = path.display().to_string();
            assert!(message.contains(&path), "{what}: {message}");
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

/// Writes the store's file once, and changes some of its bytes for the time of each test.
struct Patched {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    file: std::fs::File,
    sound: Pages,
}

impl Patched {
    fn new(sound: Pages) -> Patched {
        let (directory, path) = common::place();
        sound.write(&path);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        Patched {
            _directory: directory,
            path,
            file,
            sound,
        }
    }

    fn with(&self, at: usize, bytes: &[u8], test: impl FnOnce(&Path)) {
        self.file.write_all_at(bytes, at as u64).unwrap();
        test(&self.path);
        let whole = &self.sound.0[at..at + bytes.len()];
        self.file.write_all_at(whole, at as u64).unwrap();
    }
}

#[test]
fn flipped_bit_in_the_first_pages_or_the_root_never_makes_another_programs_file() {
    let patched = Patched::new(small());
    let pages = &patched.sound;
    let root = pages.at(pages.root(Tree::Main));
    let upper = usize::from(pages.u16(root + 14));
    let offsets = pages::HEADER + 2 * pages.nodes(pages.root(Tree::Main));
    let ranges = [
        0..pages::HEADER + 136,
        PAGE..PAGE + pages::HEADER + 136,
        root..root + offsets,
        root + upper..root + PAGE,
    ];
    for at in ranges.into_iter().flatten() {
        for bit in 0..8 {
            let byte = pages.0[at] ^ 1 << bit;
            patched.with(at, &[byte], |path| {
                let opened = OpenOptions::new()
                    .verify(Verify::Quick)
                    .read_only(true)
                    .open(path);
                if matches!(opened, Err(Error::Unfinished { .. })) {
                    // The older meta page seems to be of the commit after the newest.
                    let older = 1 - pages.newest();
                    let number = Pages::txnid_at(older);
                    assert!((number..number + 8).contains(&at), "bit {bit} of byte {at}");
                    return;
                }
                assert_damaged(opened.map(|_| ()), path, &format!("bit {bit} of byte {at}"));
            });
        }
    }
}

/// A store of a few devices.
fn small() -> Pages {
    let (_directory, path) = common::assorted();
    Pages::read(&path)
}

#[test]
fn store_without_its_meta_pages_is_a_damaged_store() {
    let patched = Patched::new(small());
    for junk in [0, 0xa5] {
        patched.with(0, &[junk; 2 * PAGE], |path| {
            let error = common::error_of(PoolMetadata::open(path));
            let message = error.to_string();
            assert!(matches!(error, Error::Corrupt { .. }), "{message}");
            for word in ["holds a store's header row", "restore it from a backup"] {
                assert!(message.contains(word), "{message}");
            }
        });
    }
}

#[test]
fn rows_of_the_unnamed_database_in_a_wrong_order_are_refused() {
    for sound in [small(), sound()] {
        let root = sound.root(Tree::Main);
        let rows = [0, 1, 2].map(|node| sound.u16(sound.offset_at(root, node)));
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut pages = sound.clone();
            for (node, row) in order.into_iter().enumerate() {
                let at = pages.offset_at(root, node);
                pages.put16(at, rows[row]);
            }
            let (_directory, path) = common::place();
            pages.write(&path);
            let error = common::error_of(OpenOptions::new().verify(Verify::None).open(&path));
            let message = error.to_string();
            assert!(matches!(error, Error::Corrupt { .. }), "{message}");
            assert!(message.contains("out of order"), "{order:?}: {message}");
            assert!(message.contains(&format!("page {root}")), "{message}");
            opens_or_is_damaged(&path, &format!("{order:?}"));
            let repaired = OpenOptions::new().repair(&path, &pool_metadata::RepairOptions::new());
            assert_damaged(repaired.map(|_| ()), &path, &format!("{order:?}"));
        }
    }
}

#[test]
fn no_record_of_a_table_is_a_bug_of_the_library() {
    let patched = Patched::new(small());
    let pages = &patched.sound;
    for tree in Tree::ALL {
        let record = pages.record(tree);
        for field in [
            pages::FLAGS,
            pages::DEPTH,
            pages::BRANCH_PAGES,
            pages::LEAF_PAGES,
            pages::OVERFLOW_PAGES,
            pages::ENTRIES,
            pages::ROOT,
        ] {
            let width = if field < pages::BRANCH_PAGES { 2 } else { 8 };
            for value in [0, 1, 2, 3, 4, 5, 31, 32, 0x7fff, 1 << 40, u64::MAX] {
                let bytes = &u64::to_le_bytes(value)[..width];
                patched.with(record + field, bytes, |path| {
                    opens_or_is_damaged(path, &format!("{tree:?} {field} {value}"));
                });
            }
        }
    }
}
