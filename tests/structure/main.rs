//! The structure of the file: each rule that LMDB takes for granted is broken by itself, and the
//! store is refused with the words for it, where LMDB would have ended the process or have read
//! what is not there.

#[path = "../common/mod.rs"]
mod common;
mod kinds;
mod metas;
mod trees;

use common::pages::{self, Pages, Tree};
use common::{check, directory, error_of, peer};
use pool_metadata::{
    Change, DeviceRef, DeviceState, Error, Ids, OpenOptions, PoolMetadata, Verify,
};
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;
use Verify::{Full, Quick};

/// A store with trees of two levels, values on pages of their own, and a free list.
fn sound() -> Pages {
    static SOUND: OnceLock<Pages> = OnceLock::new();
    SOUND
        .get_or_init(|| {
            let (_directory, path) = common::place();
            let store = PoolMetadata::open(&path).unwrap();
            fill(&store);
            check(&store);
            store.close().unwrap();
            let pages = Pages::read(&path);
            for tree in [Tree::Devices, Tree::Ids, Tree::Journal] {
                assert!(pages.pages(tree).len() > 3, "{tree:?}");
            }
            assert!(pages.far(Tree::Devices).is_some());
            pages
        })
        .clone()
}

fn fill(store: &PoolMetadata) {
    let names: Vec<String> = (0..2000).map(|n| format!("snap-{n:05}")).collect();
    let devices = names.iter().enumerate().map(|(n, name)| DeviceRef {
        name: name.as_bytes(),
        device_id: n as u32 + 1,
        size: 4096,
        parent_name: b"base",
        state: DeviceState::Created,
        error: b"",
        generation: 0,
    });
    let ids = Ids {
        last_id: 4000,
        free: (2001..4001).collect(),
        faulty: vec![],
    };
    store.import(&devices.collect::<Vec<_>>(), &ids).unwrap();
    // Removals make rows of the journal.
    let names: Vec<_> = (0..600).map(|n| format!("gone-{n:05}")).collect();
    let add = |name: &String| Change::Add(common::device(name.clone()));
    store
        .apply(&names.iter().map(add).collect::<Vec<_>>())
        .unwrap();
    let remove = |name: &String| Change::Remove {
        name: name.clone().into_bytes(),
    };
    store
        .apply(&names.iter().map(remove).collect::<Vec<_>>())
        .unwrap();
    // Changes here and there leave pages in the free list.
    for n in (0..2000).step_by(250) {
        let name = format!("snap-{n:05}");
        store
            .update_device(&name, |device| {
                device.error = vec![b'e'; 10_000 * usize::from(n == 500 || n == 1000)];
                Ok::<(), Error>(())
            })
            .unwrap();
    }
}

/// Opens a file with this content; what it says when it is refused.
fn refused(pages: &Pages, verify: Verify) -> String {
    let (_directory, path) = common::place();
    pages.write(&path);
    let error = error_of(OpenOptions::new().verify(verify).open(&path));
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert!(
        std::fs::read(&path).unwrap() == pages.0,
        "the file is as it was"
    );
    error.to_string()
}

/// Breaks one rule, and holds that full verification says these words.
#[track_caller]
fn breaks(words: &[&str], damage: impl FnOnce(&mut Pages)) -> Pages {
    let mut pages = sound();
    damage(&mut pages);
    let message = refused(&pages, Full);
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    pages
}

/// Damage that quick verification finds as well as full verification.
#[track_caller]
fn breaks_quickly(words: &[&str], damage: impl FnOnce(&mut Pages)) {
    let pages = breaks(words, damage);
    let message = refused(&pages, Quick);
    assert!(message.contains(words[0]), "{message}");
}

/// A leaf of the devices that is neither the first nor the last.
fn some_leaf(pages: &Pages) -> u64 {
    pages.leaves(Tree::Devices)[3]
}

#[test]
fn sound_store_opens_at_every_level() {
    let (_directory, path) = common::place();
    sound().write(&path);
    for level in [Verify::None, Quick, Full] {
        let store = OpenOptions::new().verify(level).open(&path).unwrap();
        check(&store);
        assert_eq!(store.stats().unwrap().devices, 2000);
        store.close().unwrap();
    }
}

#[test]
fn damage_of_the_last_commit_alone_is_reported_as_such() {
    let message = refused(
        &breaks(&["devices"], |pages| {
            // The newest commit alone has this page.
            let name = b"snap-01750";
            let leaves = pages.leaves(Tree::Devices);
            let has = |page: &&u64| (0..pages.nodes(**page)).any(|n| pages.key(**page, n) == name);
            let page = *leaves.iter().find(has).unwrap();
            let at = pages.at(page) + 10;
            pages.put16(at, 0);
        }),
        Full,
    );
    assert!(message.contains("the commit before is sound"), "{message}");
    let message = refused(
        &breaks(&["devices"], |pages| {
            let at = pages.at(pages.leaves(Tree::Devices)[0]) + 10;
            pages.put16(at, 0);
        }),
        Full,
    );
    assert!(message.contains("not sound either"), "{message}");
}

/// What LMDB itself makes of some of these: the damage, and whether it takes writing to meet it.
fn deadly() -> Vec<(&'static str, Pages)> {
    let damaged = |name, damage: &dyn Fn(&mut Pages)| {
        let mut pages = sound();
        damage(&mut pages);
        (name, pages)
    };
    let leaf = some_leaf;
    vec![
        damaged("a page that is marked dirty", &|pages| {
            let at = pages.at(pages.root(Tree::Main)) + 10;
            pages.put16(at, pages::LEAF | 0x10);
        }),
        damaged("a branch with one child", &|pages| {
            let at = pages.at(pages.root(Tree::Devices)) + 12;
            pages.put16(at, 18);
        }),
        damaged("a table whose root is a meta page", &|pages| {
            let at = pages.record(Tree::Devices) + pages::ROOT;
            pages.put64(at, 1);
        }),
        damaged("a page of duplicates", &|pages| {
            let at = pages.node_at(leaf(pages), 2) + 4;
            pages.put16(at, 0x04);
        }),
        damaged("a free list that is longer than its row", &|pages| {
            let at = pages.free_list(2);
            pages.put64(at, 1 << 40);
        }),
    ]
}

#[test]
fn lmdb_alone_dies_of_such_damage() {
    let mut died = Vec::new();
    for (name, pages) in deadly() {
        let directory = directory();
        let path = directory.path().join("pool.db");
        pages.write(&path);
        let mut command = peer::command("structure::use_through_lmdb", &path);
        let status = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        if status.signal().is_some() {
            died.push(name);
        }
        let _ = refused(&pages, Full);
    }
    let all: Vec<_> = deadly().into_iter().map(|(name, _)| name).collect();
    assert_eq!(died, all);
}
