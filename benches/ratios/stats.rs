//! The cost of the statistics, in an idle pool, and in one where a walk holds back the pages that
//! many commits have freed.

use crate::measure::in_turn;
use crate::subjects::data::Pool;
use crate::subjects::open_store;
use crate::subjects::time::wall_time;
use crate::subjects::Run;
use crate::table::Table;
use pool_metadata::{DeviceState, PoolMetadata};
use std::rc::Rc;

/// Commits that the walk holds back: each is a row of LMDB's list of free pages.
const HELD: u64 = 10_000;

fn asks(store: &Rc<PoolMetadata>) -> Run {
    let store = Rc::clone(store);
    Box::new(move |times| {
        wall_time(|| {
            for _ in 0..times {
                store.stats().unwrap();
            }
        })
    })
}

/// What the statistics are compared with: opening and closing a walk.
fn walks(store: &Rc<PoolMetadata>) -> Run {
    let store = Rc::clone(store);
    Box::new(move |times| {
        wall_time(|| {
            for _ in 0..times {
                drop(store.walk().unwrap());
            }
        })
    })
}

pub fn measure(pool: &Pool, table: &mut Table) {
    let size = pool.size;
    let store = Rc::new(open_store(&pool.copy("stats")));
    let mut measure = |what: String| {
        let figures = in_turn(&mut asks(&store), &mut walks(&store), 10, 101).medians();
        table.ratio(what, figures, None);
    };
    measure(format!("stats / opening a walk, {size} devices"));
    let walk = store.walk().unwrap();
    let mut names = pool.names();
    for _ in 0..HELD {
        let state = DeviceState::Suspended;
        store.change_device_state(names.next(), state).unwrap();
    }
    measure(format!(
        "stats / opening a walk, {size} devices, {HELD} commits held back"
    ));
    drop(walk);
}
