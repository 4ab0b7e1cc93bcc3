//! Opening a store, at each level of verification.

use crate::measure::in_turn;
use crate::subjects::data::Pool;
use crate::subjects::raw::Raw;
use crate::subjects::time::wall_time;
use crate::subjects::Run;
use crate::table::Table;
use pool_metadata::{OpenOptions, Verify};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

fn opens(file: PathBuf, level: Verify) -> Run {
    Box::new(move |times| {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            let mut store = None;
            spent += wall_time(|| store = OpenOptions::new().verify(level).open(&file).ok());
            store.unwrap().close().unwrap();
        }
        spent
    })
}

fn raw_opens(file: PathBuf) -> Run {
    Box::new(move |times| {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            let mut raw = None;
            spent += wall_time(|| raw = Some(Raw::open(&file)));
            drop(raw);
        }
        spent
    })
}

/// The whole file, once, from its beginning.
fn reads_through(file: PathBuf) -> Run {
    let mut buffer = vec![0; 1 << 20];
    Box::new(move |times| {
        wall_time(|| {
            for _ in 0..times {
                let mut file = File::open(&file).unwrap();
                while file.read(&mut buffer).unwrap() > 0 {}
            }
        })
    })
}

pub fn measure(pool: &Pool, table: &mut Table) {
    let size = pool.size;
    let copy = pool.copy("open");
    let mut raw = raw_opens(pool.copy("open-raw"));
    let mut read = reads_through(copy.clone());

    let plain = in_turn(&mut opens(copy.clone(), Verify::None), &mut raw, 1, 41).medians();
    let target = (size >= 1_000_000).then_some(5.0);
    let what = format!("open without verification, {size} devices");
    table.figure(what, plain.ours.as_secs_f64() * 1e3, "ms", target);
    table.ratio(format!("open / raw open, {size} devices"), plain, None);

    let quick = in_turn(&mut opens(copy.clone(), Verify::Quick), &mut raw, 1, 21).medians();
    let what = format!("open with quick verification / raw open, {size} devices");
    table.ratio(what, quick, None);

    let full = in_turn(&mut opens(copy, Verify::Full), &mut read, 1, 9).medians();
    let what = format!("open with full verification / reading the file, {size} devices");
    table.ratio(what, full, (size >= 1_000_000).then_some(3.0));
}
