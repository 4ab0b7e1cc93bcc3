//! Lists of changes that touch a large part of a store, in one commit.

mod common;

use common::rng::Rng;
use common::{add, campaign, check, device, devices, place};
use pool_metadata::{
    Change, DeviceState, Error, Intent, IntentKind, OpenOptions, PoolMetadata, MAX_INTENTS,
};

fn names(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("snap-{number:08}").into_bytes())
        .collect()
}

/// A store of that many devices, four of them on a page.
fn filled(store: &PoolMetadata, names: &[Vec<u8>]) {
    for some in names.chunks(10_000) {
        let add = |name: &Vec<u8>| {
            let mut device = device(name.clone());
            device.error = vec![b'x'; 900];
            Change::Add(device)
        };
        store
            .apply(&some.iter().map(add).collect::<Vec<_>>())
            .unwrap();
    }
}

fn shuffle<T>(list: &mut [T]) {
    let mut rng = Rng(24);
    for last in (1..list.len()).rev() {
        list.swap(last, rng.below(last as u64 + 1) as usize);
    }
}

fn removals(names: &[Vec<u8>]) -> Vec<Change> {
    let remove = |name: &Vec<u8>| Change::Remove { name: name.clone() };
    let mut list: Vec<_> = names.iter().map(remove).collect();
    shuffle(&mut list);
    list
}

/// In the order of the list, every page of the store would be changed before the first is empty. A
/// commit that changes more than 131,071 pages so is one that LMDB refuses; the campaign has more.
#[test]
fn purge_in_any_order_changes_few_pages() {
    let (_directory, path) = place();
    let store = OpenOptions::new().map_size(4 << 30).open(&path).unwrap();
    let names = names(campaign(4000, 600_000));
    filled(&store, &names);
    let before = store.stats().unwrap().map_used;
    assert!(before > names.len() as u64 * 900);
    let applied = store.apply(&removals(&names)).unwrap();
    assert_eq!(applied.len(), names.len());
    check(&store);
    let stats = store.stats().unwrap();
    assert_eq!((stats.devices, stats.free_ids), (0, names.len() as u64));
    assert!(stats.map_used < before + before / 4, "{stats:?}, {before}");
}

#[test]
fn refused_change_of_a_list_is_its_first_whatever_the_names() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for name in ["a", "b", "c", "d"] {
        add(&store, name);
    }
    let remove = |name: &str| Change::Remove { name: name.into() };
    let list = [
        remove("d"),
        remove("zz"),
        remove("a"),
        remove("aa"),
        remove("a"),
        remove("d"),
    ];
    let before = devices(&store);
    let failed = store.apply(&list).unwrap_err();
    assert_eq!(failed.index, Some(1));
    assert!(matches!(failed.error, Error::NotFound { .. }));
    assert_eq!(devices(&store), before);
    // One device's changes are made in their order; ids are given out in that of the list.
    let state = |name: &str| Change::ChangeState {
        name: name.into(),
        state: DeviceState::Removed,
    };
    let list = [
        state("c"),
        remove("c"),
        remove("b"),
        Change::Add(device("x")),
        remove("a"),
        Change::Add(device("c")),
        Change::Add(device("a")),
    ];
    let ids: Vec<_> = store
        .apply(&list)
        .unwrap()
        .iter()
        .map(|a| a.device_id)
        .collect();
    assert_eq!(ids, [3, 3, 2, 2, 1, 1, 3]);
    check(&store);
}

#[test]
fn list_that_adds_and_removes_too_many_is_refused_at_once() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let mut list = removals(&names(100_001));
    list.push(Change::Add(device("a")));
    let failed = store.apply(&list).unwrap_err();
    assert!(
        matches!(failed.error, Error::TooManyChanges { .. }),
        "{failed}"
    );
    assert_eq!((failed.index, store.stats().unwrap().commits), (None, 0));
    assert!(failed.to_string().contains("split the list"), "{failed}");
    // Without one of them, the first device is missed.
    list.swap_remove(0);
    let failed = store.apply(&list).unwrap_err();
    assert!(matches!(failed.error, Error::NotFound { .. }), "{failed}");
}

#[test]
fn intent_beyond_those_that_may_be_open_is_refused() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let intent = |id| Intent::new(IntentKind::Create, b"base", id, 0);
    let list: Vec<_> = (1..=MAX_INTENTS)
        .map(|id| Change::BeginIntent(intent(id)))
        .collect();
    store.apply(&list).unwrap();
    let refused = store.begin_intent(&intent(1)).unwrap_err();
    assert!(matches!(refused, Error::TooManyIntents { .. }), "{refused}");
    assert_eq!(store.intents().unwrap().len(), MAX_INTENTS as usize);
    assert_eq!(store.stats().unwrap().commits, 1);
    store.finish_intent(1).unwrap();
    store.begin_intent(&intent(1)).unwrap();
    check(&store);
}
