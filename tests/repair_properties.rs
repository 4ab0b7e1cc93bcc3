//! Any violations together: what a check says of them, and that a repair makes a sound store
//! without touching a record.

mod common;

use common::{add, check, device, devices, place, properties, raw};
use lmdb::{RwTransaction, Transaction, WriteFlags};
use pool_metadata::{
    DeviceInfo, FindingKind, Fix, OpenOptions, PoolMetadata, RepairOptions, Verify,
};
use proptest::prelude::*;
use raw::Tables;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One violation of the rows.
#[derive(Clone, Debug)]
enum Damage {
    FlipRecord { device: usize, bit: usize },
    SetId { device: usize, id: u8 },
    DropRecord { device: usize },
    AddIdRow { state: u8, id: u8 },
    DropIdRow { row: usize },
    FlipIdRow { row: usize, bit: usize },
    SetHeader { field: usize, to: u8 },
    FlipHeader { bit: usize },
    DropHeader,
    Nonsense { key: Vec<u8> },
}

fn damage() -> impl Strategy<Value = Damage> {
    use Damage::*;
    prop_oneof![
        (0..40_usize, any::<usize>()).prop_map(|(device, bit)| FlipRecord { device, bit }),
        (0..40_usize, 0..=60_u8).prop_map(|(device, id)| SetId { device, id }),
        (0..40_usize).prop_map(|device| DropRecord { device }),
        (0..3_u8, 0..=60_u8).prop_map(|(state, id)| AddIdRow { state, id }),
        any::<usize>().prop_map(|row| DropIdRow { row }),
        (any::<usize>(), any::<usize>()).prop_map(|(row, bit)| FlipIdRow { row, bit }),
        (0..5_usize, 0..=60_u8).prop_map(|(field, to)| SetHeader { field, to }),
        (80..200_usize).prop_map(|bit| FlipHeader { bit }),
        Just(DropHeader),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(|key| Nonsense { key }),
    ]
}

/// A closed store of 40 devices with ids of every kind.
fn store() -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for n in 0..48 {
        add(&store, format!("device-{n:02}"));
    }
    for n in (0..48).step_by(6) {
        store.remove_device(format!("device-{n:02}")).unwrap();
    }
    store.mark_faulty("device-01").unwrap();
    store.mark_faulty("device-02").unwrap();
    store.add_device(&mut device("device-02")).unwrap();
    check(&store);
    store.close().unwrap();
    (directory, path)
}

fn nth(keys: &[Vec<u8>], n: usize) -> Option<&Vec<u8>> {
    keys.get(n.checked_rem(keys.len())?)
}

impl Damage {
    fn apply(&self, txn: &mut RwTransaction<'_>, tables: &Tables) {
        let devices = raw::keys(txn, tables.devices);
        let rows = raw::keys(txn, tables.ids);
        let header = || txn.get(tables.main, b"header").is_ok();
        match self {
            Damage::FlipRecord { device, bit } => {
                if let Some(name) = nth(&devices, *device) {
                    raw::rewrite(txn, tables.devices, name, |value| {
                        let bit = bit % (value.len() * 8);
                        value[bit / 8] ^= 1 << (bit % 8);
                    });
                }
            }
            Damage::SetId { device, id } => {
                if let Some(name) = nth(&devices, *device) {
                    raw::rewrite(txn, tables.devices, name, |value| {
                        value[1] = *id;
                        raw::seal(name, value);
                    });
                }
            }
            Damage::DropRecord { device } => {
                if let Some(name) = nth(&devices, *device) {
                    txn.del(tables.devices, name, None).unwrap();
                }
            }
            Damage::AddIdRow { state, id } => put_id_row(txn, tables, &[*state, 0, 0, 0, *id]),
            Damage::DropIdRow { row } => {
                if let Some(key) = nth(&rows, *row) {
                    txn.del(tables.ids, key, None).unwrap();
                }
            }
            Damage::FlipIdRow { row, bit } => {
                if let Some(key) = nth(&rows, *row) {
                    raw::rewrite(txn, tables.ids, key, |value| {
                        value[bit % 4] ^= 1 << (bit / 4 % 8);
                    });
                }
            }
            Damage::SetHeader { field, to } if header() => {
                raw::rewrite(txn, tables.main, b"header", |value| {
                    value[10 + field] = *to;
                    raw::seal(b"header", value);
                });
            }
            Damage::FlipHeader { bit } if header() => {
                raw::rewrite(txn, tables.main, b"header", |value| {
                    let bit = bit % (value.len() * 8);
                    value[bit / 8] ^= 1 << (bit % 8);
                });
            }
            Damage::DropHeader if header() => txn.del(tables.main, b"header", None).unwrap(),
            Damage::Nonsense { key } => put_id_row(txn, tables, key),
            _ => {}
        }
    }
}

fn put_id_row(txn: &mut RwTransaction<'_>, tables: &Tables, key: &[u8]) {
    let mut value = [0; 4];
    raw::seal(key, &mut value);
    txn.put(tables.ids, &key, &value, WriteFlags::empty())
        .unwrap();
}

/// All rows of the table of devices, whole or not.
fn records(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    raw::edit(path, |txn, tables| {
        for name in raw::keys(txn, tables.devices) {
            let value = txn.get(tables.devices, &name).unwrap().to_vec();
            all.push((name, value));
        }
    });
    all
}

fn ids_of(devices: &[DeviceInfo]) -> BTreeSet<u32> {
    devices.iter().map(|device| device.device_id).collect()
}

proptest! {
    #![proptest_config(properties(150))]

    #[test]
    fn what_can_be_fixed_is_and_no_record_is_touched(
        damages in prop::collection::vec(damage(), 1..8),
    ) {
        let (_directory, path) = store();
        raw::edit(&path, |txn, tables| {
            for damage in &damages {
                damage.apply(txn, tables);
            }
        });
        let before = records(&path);
        let options = OpenOptions::new();
        let found = options.check_file(&path, 1000).unwrap();
        let opened = PoolMetadata::open(&path);
        prop_assert_eq!(found.is_sound(), opened.is_ok(), "{:?}", opened);
        drop(opened);
        let repaired = options.repair(&path, &RepairOptions::new()).unwrap();
        prop_assert_eq!(&repaired.before, &found);
        prop_assert!(repaired.after.findings.iter().all(|finding| finding.fix == Fix::Nothing));
        prop_assert_eq!(repaired.after.total, found.unfixable);
        prop_assert_eq!(records(&path), before);
        if !repaired.after.is_sound() {
            prop_assert!(PoolMetadata::open(&path).is_err());
            // What a repair cannot do, a salvage does: the records that are whole, each id once.
            let target = path.with_extension("new");
            options.salvage(&path, &target, 9).unwrap();
            check(&PoolMetadata::open(&target).unwrap());
            return Ok(());
        }
        let store = PoolMetadata::open(&path).unwrap();
        check(&store);
        let old = devices(&store);
        // Nobody gets an id that a device has, or that nothing is known of.
        let mut taken = ids_of(&old);
        taken.extend(store.walk().unwrap().ids().unwrap().faulty);
        let lost = found.findings.iter().filter(|finding| finding.kind == FindingKind::Lost);
        taken.extend(lost.filter_map(|finding| finding.device_id));
        for n in 0..30 {
            let id = add(&store, format!("new-{n}")).device_id;
            prop_assert!(taken.insert(id), "id {} was given out", id);
        }
        check(&store);
        drop(store);
        let level = &mut OpenOptions::new();
        let store = level.verify(Verify::None).open(&path).unwrap();
        prop_assert!(store.check(1).unwrap().is_sound());
    }
}
