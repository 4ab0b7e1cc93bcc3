//! Branch pages that lead astray: the leaves below them are whole.

use super::*;

/// A way to change a file, and what it is.
type Change = (String, Box<dyn Fn(&mut Pages)>);

/// Salvages a store that was lived in, each time with one of the changes made to it.
fn salvaged_after(changes: impl FnOnce(&Pages) -> Vec<Change>) -> Vec<Salvaged> {
    let (_directory, path, history) = lived_in();
    let old = contents(&path);
    let sound = Pages::read(&path);
    let changes = changes(&sound);
    assert!(changes.len() > 20);
    let one = |(what, change): Change| {
        println!("{what}");
        let mut changed = sound.clone();
        change(&mut changed);
        changed.write(&path);
        let salvaged = salvage(&path);
        assert_whole_is_there(&sound, &changed, &old, &history, &salvaged);
        salvaged.0
    };
    changes.into_iter().map(one).collect()
}

/// The branch page of a store that was lived in, and how many children it has.
fn branch(sound: &Pages) -> (u64, usize) {
    let root = sound.root(Tree::Devices);
    assert_eq!(sound.pages(Tree::Devices).len(), sound.nodes(root) + 1);
    (root, sound.nodes(root))
}

#[test]
fn flipped_bit_in_a_branch_page_loses_nothing_that_is_whole() {
    salvaged_after(|sound| {
        let (root, children) = branch(sound);
        let lower = sound.at(root) + HEADER + 2 * children;
        let nodes = (0..children).map(|child| sound.node_at(root, child));
        let upper = nodes.min().unwrap();
        let used = (sound.at(root)..lower).chain(upper..sound.at(root) + PAGE);
        used.map(|at| -> Change {
            let bit = at * 5 % 8;
            let change = move |pages: &mut Pages| pages.0[at] ^= 1 << bit;
            (format!("byte {}, bit {bit}", at % PAGE), Box::new(change))
        })
        .collect()
    });
}

#[test]
fn wrong_child_of_a_branch_page_loses_nothing_that_is_whole() {
    salvaged_after(|sound| {
        let (root, children) = branch(sound);
        let ids = sound.leaves(Tree::Ids)[0];
        let pages: Vec<u64> = (0..children)
            .map(|child| sound.child(root, child))
            .collect();
        let mut all: Vec<Change> = Vec::new();
        for child in 0..children {
            for other in pages.iter().copied().chain([root, ids, 1 << 40]) {
                let change = move |pages: &mut Pages| {
                    let at = pages.node_at(root, child);
                    pages.put32(at, other as u32);
                    pages.put16(at + 4, (other >> 32) as u16);
                };
                all.push((format!("child {child} is page {other}"), Box::new(change)));
            }
        }
        all
    });
}

/// Two children in each other's place: each is whole, and nothing is lost.
#[test]
fn exchanged_children_lose_nothing() {
    let found = salvaged_after(|sound| {
        let (root, children) = branch(sound);
        let pairs = (0..children).flat_map(|a| (0..a).map(move |b| (a, b)));
        pairs
            .map(|(a, b)| -> Change {
                let change = move |pages: &mut Pages| {
                    let (a, b) = (pages.node_at(root, a), pages.node_at(root, b));
                    let (first, second) = (pages.u32(a), pages.u32(b));
                    pages.put32(a, second);
                    pages.put32(b, first);
                };
                (format!("{a} and {b}"), Box::new(change))
            })
            .collect()
    });
    assert!(found.iter().all(|found| found.complete));
}

/// A leaf that went back to what it was before one device was removed from it and another one
/// added: it has as many rows.
#[test]
fn older_leaf_with_as_many_rows_loses_no_device() {
    let (_directory, path, mut history) = lived_in();
    let before = Pages::read(&path);
    let leaf = before.leaves(Tree::Devices)[4];
    let removed = before.key(leaf, 1).to_vec();
    let added = [before.key(leaf, 2), b"-new"].concat();
    let store = PoolMetadata::open(&path).unwrap();
    store.remove_device(&removed).unwrap();
    add(&store, added.clone());
    store.close().unwrap();
    let old = contents(&path);
    for (name, device) in &old.devices {
        history
            .entry(name.clone())
            .or_default()
            .push(device.clone());
    }
    let mut pages = Pages::read(&path);
    let leaves = pages.leaves(Tree::Devices);
    let holds = |leaf: &&u64| (0..pages.nodes(**leaf)).any(|at| pages.key(**leaf, at) == added);
    let now = *leaves.iter().find(holds).unwrap();
    assert_eq!(pages.nodes(now), before.nodes(leaf));
    let (from, to) = (before.at(leaf), pages.at(now));
    // Where the newest leaf was, and the newest leaf where the older one is: as a write that went
    // to the wrong place.
    let newest = pages.0[to..to + PAGE].to_vec();
    pages.0[to..to + PAGE].copy_from_slice(&before.0[from..from + PAGE]);
    pages.put64(to, now);
    let end = pages.at(leaf);
    pages.0[end..end + PAGE].copy_from_slice(&newest);
    pages.write(&path);
    assert_error!(PoolMetadata::open(&path), Error::Corrupt { .. });
    let (found, target) = salvage(&path);
    assert!(!found.complete);
    let new = contents(&target);
    for (name, device) in &old.devices {
        assert_eq!(new.devices.get(name), Some(device), "{name:?}");
    }
    assert!(found.recovered >= 1);
}
