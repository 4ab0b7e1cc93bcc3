//! The store that is damaged: its file, an older copy of the file, and its content after each of
//! four commits.

use super::random::Random;
use crate::common::pages::{Pages, Tree, HEADER};
use crate::common::{check, device};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata};
use pool_metadata::{Ids, Intent, IntentKind, Removals};
use std::path::Path;

pub const DEVICES: usize = 3000;
/// Changes between the older copy and the file.
const CHANGES: usize = 300;

/// What a store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// In the order of names.
    pub devices: Vec<DeviceInfo>,
    ids: Ids,
    intents: Vec<Intent>,
    removals: Removals,
}

impl Content {
    pub fn of(store: &PoolMetadata) -> Result<Content, Error> {
        Ok(Content {
            devices: store.walk()?.collect::<Result<_, Error>>()?,
            ids: store.walk()?.ids()?,
            intents: store.intents()?,
            removals: store.walk()?.removals(0)?,
        })
    }
}

pub struct Original {
    pub now: Pages,
    pub older: Pages,
    /// The right contents: those of the newest commit and the one before it, in the file and in the
    /// older copy.
    pub contents: [Content; 4],
    /// Every page in use, with the structure that it belongs to.
    pub places: Vec<(Tree, u64)>,
    pub free: Vec<u64>,
}

impl Original {
    /// Makes the store in that directory.
    pub fn make(directory: &Path) -> Original {
        let path = directory.join("original.db");
        let open = || PoolMetadata::open(&path).unwrap();
        let store = open();
        let mut random = Random::of_case(1, 1);
        // In random order, and with some that are removed again.
        for n in 0..DEVICES + DEVICES / 5 {
            let name = format!("snap-{:04}", (n * 1901 + 7) % (DEVICES + DEVICES / 5));
            let mut device = DeviceInfo {
                parent_name: format!("snap-{:04}", random.below(DEVICES)).into_bytes(),
                ..device(name)
            };
            store.add_device(&mut device).unwrap();
        }
        let names = store.get_device_names().unwrap();
        for n in 0..DEVICES / 5 {
            store
                .remove_device(&names[n * 6 + random.below(6)])
                .unwrap();
        }
        for _ in 0..CHANGES {
            change(&store, &mut random);
        }
        let one_more = |store: &PoolMetadata, random: &mut Random| {
            let before = Content::of(store).unwrap();
            let devices = &before.devices;
            update(store, &devices[random.below(devices.len())].name, random);
            [Content::of(store).unwrap(), before]
        };
        let [older_now, older_before] = one_more(&store, &mut random);
        store.close().unwrap();
        let older = Pages::read(&path);
        let store = open();
        for _ in 0..CHANGES {
            change(&store, &mut random);
        }
        let [now, before] = one_more(&store, &mut random);
        check(&store);
        assert_eq!(now.devices.len(), DEVICES);
        assert!(now.intents.len() > 2 && now.removals.removed.len() > CHANGES / 10);
        store.close().unwrap();
        let pages = Pages::read(&path);
        Original {
            places: places(&pages),
            free: free_pages(&pages),
            now: pages,
            older,
            contents: [now, before, older_now, older_before],
        }
    }
}

/// Makes a change that keeps the number of devices.
fn change(store: &PoolMetadata, random: &mut Random) {
    let names = store.get_device_names().unwrap();
    let name = &names[random.below(names.len())];
    match random.below(8) {
        0 | 1 => store.mark_faulty(name).unwrap(),
        2 => {
            store.remove_device(name).unwrap();
            store.add_device(&mut device(name.clone())).unwrap();
        }
        3 => {
            let id = store.get_device(name).unwrap().device_id;
            store.replace_device_id(name, id).unwrap();
        }
        4 => change_intents(store, name, random),
        _ => update(store, name, random),
    }
}

/// Begins an intent, and finishes an earlier one where there are many.
fn change_intents(store: &PoolMetadata, name: &[u8], random: &mut Random) {
    let begun = store.intents().unwrap();
    if begun.len() > 8 {
        let earlier = &begun[random.below(begun.len())];
        store.finish_intent(earlier.number).unwrap();
    }
    let intent = Intent::new(IntentKind::Create, name, 7, 1);
    store.begin_intent(&intent).unwrap();
}

fn update(store: &PoolMetadata, name: &[u8], random: &mut Random) {
    // Some texts are too long for a leaf.
    let len = match random.below(20) {
        0 => 20_000,
        1 => 5000,
        n => 20 * n,
    };
    let change = |device: &mut DeviceInfo| {
        device.state = DeviceState::Suspended;
        device.error = vec![b'e'; len];
        Ok::<(), Error>(())
    };
    store.update_device(name, change).unwrap();
}

fn places(pages: &Pages) -> Vec<(Tree, u64)> {
    let mut places = Vec::new();
    for tree in Tree::ALL {
        places.extend(pages.pages(tree).into_iter().map(|(page, _)| (tree, page)));
        for page in pages.leaves(tree) {
            let far = (0..pages.nodes(page)).filter(|node| pages.is_far(page, *node));
            places.extend(far.map(|node| (tree, pages.u64(pages.value_at(page, node)))));
        }
    }
    places
}

fn free_pages(pages: &Pages) -> Vec<u64> {
    let mut free = Vec::new();
    for page in pages.leaves(Tree::Free) {
        for node in 0..pages.nodes(page) {
            let value = pages.value_at(page, node);
            let list = match pages.is_far(page, node) {
                true => pages.at(pages.u64(value)) + HEADER,
                false => value,
            };
            free.extend((1..=pages.u64(list) as usize).map(|n| pages.u64(list + 8 * n)));
        }
    }
    free
}
