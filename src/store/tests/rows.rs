//! Rows of a write transaction, held to an ordered map.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::error::Error;
use crate::format::table::Table::Devices;
use crate::limits::MAX_NAME_LEN;
use crate::lmdb::write::{Fault, WriteTxn};
use crate::store::verify::check_level;
use crate::store::PoolMetadata;
use crate::sync::lock_wait::LockWait;
use crate::verify::Level;

#[derive(Clone, Copy, Debug)]
enum Step {
    Get,
    Put,
    PutNew,
    Remove,
}

/// What to do with which row, and its new length.
type Steps = Vec<(Step, usize, usize)>;
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn steps() -> impl Strategy<Value = Steps> {
    let step = prop_oneof![
        2 => Just(Step::Get),
        4 => Just(Step::Put),
        3 => Just(Step::PutNew),
        3 => Just(Step::Remove),
    ];
    // Few rows, and so the same ones again; and lengths around what fits into a page.
    let row = prop_oneof![0..8_usize, 0..200_usize];
    let length = prop_oneof![4 => 1..40_usize, 2 => 500..2100_usize, 1 => 4000..9000_usize];
    vec((step, row, length), 1..120)
}

/// Long names make a tree of several levels of few rows.
fn name(row: usize) -> Vec<u8> {
    let mut name = format!("{:03}", row * 37 % 200).into_bytes();
    name.resize([3, 40, 300, 511][row % 4], b'n');
    name
}

fn take(txn: &mut WriteTxn<'_>, rows: &mut Rows, steps: &Steps) -> Result<(), Fault> {
    for (at, (step, row, length)) in steps.iter().enumerate() {
        let (name, value) = (name(*row), vec![at as u8; *length]);
        let there = rows.get(&name);
        match step {
            Step::Get => {
                let found = txn.get(Devices, &name)?;
                assert_eq!(found, there.map(Vec::as_slice), "step {at}");
            }
            Step::PutNew => {
                let new = txn.put_new(Devices, &name, &value)?;
                assert_eq!(new, there.is_none(), "step {at}");
                rows.entry(name).or_insert(value);
            }
            Step::Put => {
                txn.put(Devices, &name, &value)?;
                rows.insert(name, value);
            }
            Step::Remove if there.is_none() => {}
            Step::Remove => {
                txn.del(Devices, &name)?;
                rows.remove(&name);
            }
        }
    }
    Ok(())
}

/// All rows, each by a search of its own.
fn all(txn: &WriteTxn<'_>) -> Result<Rows, Fault> {
    let (mut rows, mut from) = (Rows::new(), vec![0]);
    while let Some((key, value)) = txn.first_from(Devices, &from)? {
        rows.insert(key.to_vec(), value.to_vec());
        from = [key, &[0]].concat();
        from.truncate(MAX_NAME_LEN);
        if from == key {
            *from.last_mut().unwrap() += 1;
        }
    }
    Ok(rows)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Rows written, read and removed in any order, in transactions that are committed or aborted,
    /// are those that an ordered map has.
    #[test]
    fn rows_of_a_write_are_those_of_an_ordered_map(work in vec((steps(), any::<bool>()), 1..12)) {
        let directory = tempfile::tempdir().unwrap();
        let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
        let env = store.walk().unwrap().snapshot().env().clone();
        let waits = LockWait::new(Duration::from_secs(60));
        let writing = env.begin_writing(&waits).unwrap();
        let mut rows = Rows::new();
        for (steps, kept) in work {
            let mut after = rows.clone();
            let done = writing.run(|txn| {
                after.clone_from(&rows);
                take(txn, &mut after, &steps)?;
                assert_eq!(all(txn)?, after);
                if kept { Ok(()) } else { Err(Error::Closed.into()) }
            });
            prop_assert_eq!(done.is_ok(), kept);
            if kept {
                rows = after;
            }
            let found = writing.run(|txn| all(txn)).unwrap();
            prop_assert_eq!(&found, &rows);
            check_level(&env, Level::Structure).unwrap();
        }
    }
}
