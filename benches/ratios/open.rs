//! Opening a store, at each level of verification.

use crate::measure::in_turn;
use crate::subjects::data::Pool;
use crate::subjects::raw::Raw;
use crate::subjects::time::wall_time;
use crate::subjects::Run;
use crate::table::Table;
use pool_metadata::{DeviceInfo, OpenOptions, Verify};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

const PAGE: usize = 4096;
/// Where the note of the last flush stands in a meta page.
const MARK: std::ops::Range<usize> = 160..192;

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

/// Opens a store whose newest commit is half written, which each open before has undone.
fn torn_opens(file: PathBuf) -> Run {
    let before = std::fs::read(&file).unwrap();
    let store = OpenOptions::new().open(&file).unwrap();
    store.add_device(&mut DeviceInfo::new("torn")).unwrap();
    store.close().unwrap();
    let mut metas = std::fs::read(&file).unwrap();
    let page = |bytes: &[u8], at: usize| bytes[at * PAGE..][..PAGE].to_vec();
    let changed = |at: &usize| page(&metas, *at) != page(&before, *at);
    let lost = (2..before.len() / PAGE).find(changed).unwrap();
    let data = File::options().write(true).open(&file).unwrap();
    data.write_all_at(&page(&before, lost), (lost * PAGE) as u64)
        .unwrap();
    metas.truncate(2 * PAGE);
    // No note says that the commit was flushed.
    metas.chunks_mut(PAGE).for_each(|meta| meta[MARK].fill(0));
    Box::new(move |times| {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            data.write_all_at(&metas, 0).unwrap();
            let mut store = None;
            spent += wall_time(|| store = OpenOptions::new().open(&file).ok());
            let store = store.unwrap();
            assert!(store.undone_at_open().is_some());
            store.close().unwrap();
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

    let mut whole = opens(copy, Verify::Full);
    let full = in_turn(&mut whole, &mut read, 1, 9).medians();
    let what = format!("open with full verification / reading the file, {size} devices");
    table.ratio(what, full, (size >= 1_000_000).then_some(3.0));

    let mut torn = torn_opens(pool.copy("open-torn"));
    let torn = in_turn(&mut torn, &mut whole, 1, 21).medians();
    let what = format!("open after a torn last commit / full open, {size} devices");
    table.ratio(what, torn, (size >= 1_000_000).then_some(1.3));
}
