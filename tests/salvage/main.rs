//! Files that are refused, and what is made of them: what was whole is kept as it was, and nothing
//! is made up.

mod branches;
#[path = "../common/mod.rs"]
mod common;
mod deferred;
mod ids;
mod judge;
mod page_size;
mod stale;
mod trouble;

use common::pages::{Pages, Tree, HEADER, PAGE};
use common::{add, check, device, devices, error_of, options, place, properties, raw, sys};
use judge::{assert_whole_is_there, whole_is_there};
use pool_metadata::{DeviceInfo, DeviceState, Error, FindingKind, OpenOptions};
use pool_metadata::{Fix, PoolMetadata, Salvaged};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use FindingKind::*;

/// Every state that a device was in, but for generations.
type History = BTreeMap<Vec<u8>, Vec<DeviceInfo>>;

fn plain(device: &DeviceInfo) -> DeviceInfo {
    DeviceInfo {
        generation: 0,
        ..device.clone()
    }
}

fn with_text(name: String, len: usize) -> DeviceInfo {
    DeviceInfo {
        error: vec![b'e'; len],
        parent_name: b"base".to_vec(),
        ..device(name)
    }
}

/// A closed store that was used for a while: its devices, and what they have been.
fn lived_in() -> (tempfile::TempDir, PathBuf, History) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let mut history = History::new();
    let mut seen = |store: &PoolMetadata, name: &[u8]| {
        let now = plain(&store.get_device(name).unwrap());
        history.entry(name.to_vec()).or_default().push(now);
    };
    for n in 0..500 {
        let name = format!("device-{n:03}");
        let len = if n % 50 == 0 { 9000 } else { n % 90 };
        store.add_device(&mut with_text(name.clone(), len)).unwrap();
        seen(&store, name.as_bytes());
    }
    for n in (0..500).step_by(9) {
        store.remove_device(format!("device-{n:03}")).unwrap();
    }
    for n in (1..500).step_by(13) {
        let name = format!("device-{n:03}");
        if store
            .change_device_state(&name, DeviceState::Activated)
            .is_ok()
        {
            seen(&store, name.as_bytes());
        }
    }
    for n in [4, 5] {
        let name = format!("device-{n:03}");
        store.mark_faulty(&name).unwrap();
        seen(&store, name.as_bytes());
    }
    store.add_device(&mut device("device-005")).unwrap();
    seen(&store, b"device-005");
    check(&store);
    store.close().unwrap();
    (directory, path, history)
}

fn salvage(path: &Path) -> (Salvaged, PathBuf) {
    try_salvage(path).unwrap()
}

/// Salvages a file in which nothing may be left; `None` if so.
fn try_salvage(path: &Path) -> Option<(Salvaged, PathBuf)> {
    let target = path.with_extension("salvaged");
    let _ = std::fs::remove_file(&target);
    let _ = std::fs::remove_file(raw::lock_path(&target));
    let before = std::fs::read(path).unwrap();
    let found = match options(1000).salvage(path, &target, 1000) {
        Err(Error::NotAStore { .. }) => return None,
        found => found.unwrap(),
    };
    assert!(std::fs::read(path).unwrap() == before, "it is only read");
    assert_eq!(
        found.report.findings.len() as u64,
        found.report.total.min(1000)
    );
    Some((found, target))
}

/// What the store of a file holds.
#[derive(PartialEq)]
struct Contents {
    devices: BTreeMap<Vec<u8>, DeviceInfo>,
    ids: pool_metadata::Ids,
}

fn contents(path: &Path) -> Contents {
    let store = PoolMetadata::open(path).unwrap();
    check(&store);
    contents_of(&store)
}

fn contents_of(store: &PoolMetadata) -> Contents {
    let named = |device: DeviceInfo| (device.name.clone(), plain(&device));
    Contents {
        devices: devices(store).into_iter().map(named).collect(),
        ids: store.walk().unwrap().ids().unwrap(),
    }
}

/// No id of the old store's, known or lost, is given out again as if nobody had it.
fn assert_ids_are_safe(target: &Path, old: &Contents) {
    let store = PoolMetadata::open(target).unwrap();
    let free: BTreeSet<u32> = old.ids.free.iter().copied().collect();
    for n in 0..300 {
        let id = add(&store, format!("new-{n}")).device_id;
        assert!(
            free.contains(&id) || id > old.ids.last_id,
            "{id} was given out"
        );
    }
    check(&store);
}

fn kinds(found: &Salvaged) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for finding in &found.report.findings {
        *kinds.entry(format!("{:?}", finding.kind)).or_default() += 1;
    }
    kinds
}

/// Damages a store that was filled in one commit: no page holds a row that is not in force.
fn filled_at_once(change: impl FnOnce(&mut Pages)) -> (tempfile::TempDir, PathBuf, Contents) {
    let (directory, path, _) = lived_in();
    let compact = directory.path().join("compact");
    let store = PoolMetadata::open(&path).unwrap();
    let walk = store.walk().unwrap();
    let all: Vec<_> = devices(&store);
    let all: Vec<_> = all.iter().map(|device| device.as_ref()).collect();
    let filled = PoolMetadata::open(&compact).unwrap();
    filled.import(&all, &walk.ids().unwrap()).unwrap();
    filled.close().unwrap();
    let old = contents(&compact);
    let mut pages = Pages::read(&compact);
    change(&mut pages);
    pages.write(&compact);
    assert_error!(
        PoolMetadata::open(&compact),
        Error::Corrupt { .. } | Error::ForeignLmdb { .. } | Error::NotAStore { .. }
    );
    (directory, compact, old)
}

fn wipe(pages: &mut Pages, page: u64) {
    let at = pages.at(page);
    pages.0[at..at + PAGE].fill(0xa5);
}

#[test]
fn lost_leaf_loses_its_devices_and_no_others() {
    let mut lost = BTreeSet::new();
    let (_directory, path, old) = filled_at_once(|pages| {
        let leaf = pages.leaves(Tree::Devices)[3];
        lost.extend((0..pages.nodes(leaf)).map(|at| pages.key(leaf, at).to_vec()));
        wipe(pages, leaf);
    });
    assert!(lost.len() > 5);
    let (found, target) = salvage(&path);
    assert!(!found.complete);
    assert_eq!((found.lost_pages, found.recovered), (1, 0));
    let kinds = kinds(&found);
    assert_eq!(kinds["PageLost"], 1);
    assert_eq!(kinds["Lost"], lost.len() + old.ids.free.len());
    let new = contents(&target);
    let mut expected = old.devices.clone();
    expected.retain(|name, _| !lost.contains(name));
    assert_eq!(new.devices, expected);
    // The table of ids is whole, but nothing shows that it is not an older one.
    assert!(new.ids.free.is_empty());
    for name in &lost {
        assert!(new.ids.faulty.contains(&old.devices[name].device_id));
    }
    assert_ids_are_safe(&target, &old);
}

#[test]
fn lost_branch_root_or_meta_page_loses_nothing() {
    let branch = |pages: &mut Pages| {
        let root = pages.root(Tree::Devices);
        wipe(pages, root);
    };
    let root = |pages: &mut Pages| {
        let root = pages.root(Tree::Main);
        wipe(pages, root);
    };
    let metas = |pages: &mut Pages| pages.0[..2 * PAGE].fill(0);
    let newest = |pages: &mut Pages| {
        let at = pages.newest() * PAGE;
        pages.0[at..at + PAGE].fill(0x11);
    };
    let tables = |pages: &mut Pages| {
        let at = pages.record(Tree::Devices) + 40;
        pages.put64(at, u64::MAX / 2);
    };
    for (what, damage) in [
        ("branch", &branch as &dyn Fn(&mut Pages)),
        ("root", &root),
        ("metas", &metas),
        ("newest", &newest),
        ("tables", &tables),
    ] {
        let (_directory, path, old) = filled_at_once(damage);
        let (found, target) = salvage(&path);
        let new = contents(&target);
        assert_eq!(new.devices, old.devices, "{what}");
        // The header row, and with it the highest id, is where the root was.
        if what != "root" {
            assert_eq!(new.ids.last_id, old.ids.last_id, "{what}");
            // Where it is not certain which commit was the last, what was free may be in use.
            let known = matches!(what, "branch" | "tables");
            let free = if known { &old.ids.free[..] } else { &[] };
            assert_eq!(new.ids.free, free, "{what}");
            assert_ids_are_safe(&target, &old);
        }
        // That it is all cannot be known, even if it is.
        assert!(!found.complete, "{what}: {found:?}");
        let from_trees = matches!(what, "metas" | "newest");
        assert_eq!(found.recovered == 0, from_trees, "{what}");
    }
}

#[test]
fn damaged_record_or_overflow_value_is_left_out() {
    let mut names = Vec::new();
    let (_directory, path, old) = filled_at_once(|pages| {
        let (leaf, node, first) = pages.far(Tree::Devices).unwrap();
        names.push(pages.key(leaf, node).to_vec());
        let at = pages.at(first) + PAGE + 100;
        pages.0[at] ^= 1;
        let leaf = pages.leaves(Tree::Devices)[5];
        names.push(pages.key(leaf, 2).to_vec());
        let at = pages.value_at(leaf, 2) + 4;
        pages.0[at] ^= 0x40;
    });
    let (found, target) = salvage(&path);
    assert_eq!(
        (found.lost_pages, found.recovered, found.complete),
        (0, 0, false)
    );
    let told: Vec<_> = found
        .report
        .findings
        .iter()
        .filter(|finding| finding.kind == RecordDamaged)
        .map(|finding| finding.name.clone().unwrap())
        .collect();
    assert_eq!(
        BTreeSet::from_iter(told),
        BTreeSet::from_iter(names.clone())
    );
    let mut expected = old.devices.clone();
    expected.retain(|name, _| !names.contains(name));
    assert_eq!(contents(&target).devices, expected);
    assert_ids_are_safe(&target, &old);
}

#[test]
fn long_texts_survive_a_lost_tree() {
    let (_directory, path, old) = filled_at_once(|pages| {
        let root = pages.root(Tree::Devices);
        wipe(pages, root);
        pages.0[..PAGE].fill(0);
    });
    let new = contents(&salvage(&path).1);
    let long = |contents: &Contents| {
        let texts = contents.devices.values().filter(|d| d.error.len() == 9000);
        texts.count()
    };
    assert!(long(&old) > 5);
    assert_eq!(long(&new), long(&old));
}

#[test]
fn file_cut_short_keeps_what_is_left() {
    for share in [4, 2, 3] {
        let (_directory, path, old) = filled_at_once(|pages| {
            let used = pages.last_page() as usize + 1;
            pages.0.truncate(used * (share - 1) / share * PAGE);
        });
        let (found, target) = salvage(&path);
        assert!(!found.complete);
        let new = contents(&target);
        assert!(!new.devices.is_empty());
        assert!(new
            .devices
            .iter()
            .all(|(name, device)| old.devices[name] == *device));
    }
}

/// Damages the store itself, with all that was on its pages before.
fn damaged(change: impl FnOnce(&mut Pages)) -> (tempfile::TempDir, PathBuf, History, Contents) {
    let (directory, path, history) = lived_in();
    let old = contents(&path);
    let mut pages = Pages::read(&path);
    change(&mut pages);
    pages.write(&path);
    (directory, path, history, old)
}

#[test]
fn lost_device_comes_back_from_an_older_page_and_a_removed_one_does_not() {
    let mut lost = BTreeSet::new();
    let (_directory, path, history, old) = damaged(|pages| {
        for leaf in pages.leaves(Tree::Devices).into_iter().step_by(3) {
            lost.extend((0..pages.nodes(leaf)).map(|at| pages.key(leaf, at).to_vec()));
            wipe(pages, leaf);
        }
    });
    let (found, target) = salvage(&path);
    let new = contents(&target);
    let mut back = 0;
    for (name, device) in &new.devices {
        assert!(old.devices.contains_key(name), "{name:?} was removed");
        assert!(history[name].contains(device));
        if lost.contains(name) {
            back += 1;
        } else {
            assert_eq!(*device, old.devices[name]);
        }
    }
    println!("{back} of {} came back", lost.len());
    assert!(back > 0 && found.recovered == back);
    let told = found.report.findings.iter();
    let told = told.filter(|finding| finding.kind == Recovered).count();
    assert_eq!(told as u64, found.recovered);
    assert_ids_are_safe(&target, &old);
}

/// A page that went back to an older content: in itself it is sound.
#[test]
fn stale_page_loses_no_device() {
    let (_directory, path, _) = lived_in();
    let before = Pages::read(&path);
    let leaf = before.leaves(Tree::Devices)[4];
    let name = before.key(leaf, 1).to_vec();
    let store = PoolMetadata::open(&path).unwrap();
    for _ in 0..3 {
        store
            .change_device_state(&name, DeviceState::Suspended)
            .unwrap();
    }
    store.close().unwrap();
    let old = contents(&path);
    let mut pages = Pages::read(&path);
    let leaves = pages.leaves(Tree::Devices);
    let holds = |leaf: &&u64| (0..pages.nodes(**leaf)).any(|at| pages.key(**leaf, at) == name);
    let now = *leaves.iter().find(holds).unwrap();
    // The older copy, in the place of the newest one.
    let (from, to) = (before.at(leaf), pages.at(now));
    pages.0[to..to + PAGE].copy_from_slice(&before.0[from..from + PAGE]);
    pages.put64(to, now);
    pages.write(&path);
    assert_error!(PoolMetadata::open(&path), Error::Corrupt { .. });
    let (found, target) = salvage(&path);
    assert!(!found.complete);
    let new = contents(&target);
    assert_eq!(
        new.devices.keys().collect::<Vec<_>>(),
        old.devices.keys().collect::<Vec<_>>()
    );
    // The last copy but one was on a page that nobody has overwritten.
    assert_eq!(new.devices[&name].state, DeviceState::Suspended);
}
