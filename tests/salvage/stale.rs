//! Writes that were lost: pages of the last commits that hold, as a whole or in part, what was
//! there before, with the right number. Nothing in such a page shows that it is old.

use super::*;
use common::rng::Rng;
use pool_metadata::RepairOptions;
use std::sync::OnceLock;

/// Bytes that a disk writes as a whole.
const SECTOR: usize = 512;
/// Commits of which the file is kept.
const KEPT: usize = 24;
/// How many commits' writes are lost at most.
const LOST: usize = 5;

/// Stores: how many devices they begin with, how long the names are, and how many of those are
/// removed at once.
const STORES: [(u64, usize, u64); 3] = [(300, 10, 40), (500, 300, 10), (1500, 12, 1000)];

/// A store, and its file after each of its last commits.
struct Film {
    history: History,
    moments: Vec<Moment>,
}

struct Moment {
    pages: Pages,
    contents: Contents,
}

fn film(store: usize) -> &'static Film {
    static FILMS: [OnceLock<Film>; STORES.len()] = [const { OnceLock::new() }; STORES.len()];
    FILMS[store].get_or_init(|| Film::shoot(store))
}

impl Film {
    fn shoot(which: usize) -> Film {
        let (count, len, removed) = STORES[which];
        let (_directory, path) = place();
        let store = PoolMetadata::open(&path).unwrap();
        let mut history = History::new();
        let name = |n: u64| format!("{n:0>len$}");
        let mut note = |name: &str| {
            if let Ok(device) = store.get_device(name) {
                history
                    .entry(device.name.clone())
                    .or_default()
                    .push(plain(&device));
            }
        };
        for n in 0..count {
            let text = if n % 97 == 0 { 9000 } else { n as usize % 90 };
            store.add_device(&mut with_text(name(n), text)).unwrap();
            note(&name(n));
        }
        for n in 0..removed {
            store.remove_device(name(n * 7 % count)).unwrap();
        }
        let mut rng = Rng(which as u64);
        let mut moments = Vec::new();
        while moments.len() < KEPT {
            // Some devices are changed again and again.
            let few = name(rng.below(5) * 50 + 1);
            let any = name(rng.below(count + 20));
            let text = rng.below(70) as usize;
            let (name, done) = match rng.below(8) {
                0 | 1 => (&any, store.add_device(&mut with_text(any.clone(), text))),
                2 => (&few, store.add_device(&mut with_text(few.clone(), 12_000))),
                3 => (&any, store.remove_device(&any)),
                4 => (&few, store.remove_device(&few)),
                5 => (&any, store.mark_faulty(&any)),
                _ => (
                    &few,
                    store.change_device_state(&few, DeviceState::Activated),
                ),
            };
            if done.is_ok() {
                note(name);
                let mut pages = Pages::read(&path);
                pages.0.resize(pages.0.len().next_multiple_of(PAGE), 0);
                let contents = contents_of(&store);
                moments.push(Moment { pages, contents });
            }
        }
        store.close().unwrap();
        Film { history, moments }
    }
}

/// What is left of the file of moment `last` when writes were lost.
fn damaged_by(film: &Film, last: usize, how: u8, rng: &mut Rng) -> Pages {
    let now = &film.moments[last].pages;
    let mut pages = now.clone();
    let since = 1 + rng.below(LOST as u64) as usize;
    let (one_in, torn, metas) = match how {
        0 => (2, false, false), // many pages
        1 => (2, false, true),
        2 => (2, true, true),         // parts of pages
        3 => (6, false, false),       // a few pages, and others damaged
        4 => (3, false, true),        // the file is cut short as well
        _ => (u64::MAX, false, true), // both meta pages
    };
    for at in (0..now.0.len()).step_by(PAGE) {
        let meta = at < 2 * PAGE;
        let lost = if meta {
            metas && (how == 5 || rng.below(3) == 0)
        } else {
            rng.below(one_in) == 0
        };
        let back = if how == 5 {
            since
        } else {
            1 + rng.below(since as u64) as usize
        };
        let before = &film.moments[last - back].pages.0;
        let old = before.get(at..at + PAGE).unwrap_or(&[0; PAGE]);
        if !lost || old == &now.0[at..at + PAGE] {
            continue;
        }
        for (n, sector) in old.chunks(SECTOR).enumerate() {
            if !torn || rng.below(2) == 0 {
                pages.0[at + n * SECTOR..][..SECTOR].copy_from_slice(sector);
            }
        }
    }
    let count = now.last_page() + 1;
    match how {
        3 | 5 => {
            for _ in 0..rng.below(3) {
                wipe(&mut pages, 2 + rng.below(count - 2));
            }
        }
        4 => pages
            .0
            .truncate((count - rng.below(count / 4)) as usize * PAGE),
        _ => {}
    }
    pages
}

/// Holds that what is opened, checked and repaired is never taken for sound unless it is what some
/// commit has left: the last one, if nothing happened to the meta pages.
fn assert_nothing_stale_passes(film: &Film, last: usize, pages: &Pages, path: &Path) {
    let metas = |pages: &Pages| pages.0[..2 * PAGE].to_vec();
    let first = if metas(pages) == metas(&film.moments[last].pages) {
        last
    } else {
        0
    };
    let mut right = film.moments[first..=last].iter();
    let sound = match PoolMetadata::open(path) {
        Ok(store) => {
            let found = contents_of(&store);
            assert!(
                right.any(|moment| moment.contents == found),
                "an open store is wrong"
            );
            store.close().unwrap();
            true
        }
        Err(_) => false,
    };
    if let Ok(report) = options(50).check_file(path, 10) {
        assert!(!report.is_sound() || sound, "a check finds nothing");
    }
    pages.write(path);
    let mut repair = RepairOptions::new();
    let kept = path.with_extension("kept");
    let _ = std::fs::remove_file(&kept);
    if let Ok(repaired) = options(50).repair(path, repair.backup(&kept)) {
        let opened = PoolMetadata::open(path);
        assert_eq!(repaired.after.is_sound(), opened.is_ok());
        for device in opened.iter().flat_map(devices) {
            assert!(film.history[&device.name].contains(&plain(&device)));
        }
    }
}

/// Whether so much is lost that nothing tells any more which commit was the last: both meta pages,
/// or two of the roots of the last two commits and of their free lists.
fn beyond(film: &Film, last: usize, pages: &Pages) -> bool {
    let now = &film.moments[last].pages;
    let hit = |page: u64| {
        let at = now.at(page);
        pages.0.get(at..at + PAGE) != now.0.get(at..at + PAGE)
    };
    let before = &film.moments[last - 1].pages;
    let roots = [now, before].map(|of| of.root(Tree::Main));
    let lists = [now, before].map(|of| of.root(Tree::Free));
    let lost = roots
        .into_iter()
        .chain(lists)
        .filter(|page| hit(*page))
        .count();
    hit(0) && hit(1) || lost > 1
}

/// What the salvage of such a file has done wrong.
fn wrong(film: &Film, last: usize, pages: &Pages, path: &Path) -> Result<(), String> {
    pages.write(path);
    let Some(salvaged) = try_salvage(path) else {
        return Ok(());
    };
    let judge = |moment: &Moment| {
        whole_is_there(
            &moment.pages,
            pages,
            &moment.contents,
            &film.history,
            &salvaged,
        )
    };
    let Err(error) = judge(&film.moments[last]) else {
        return Ok(());
    };
    let new = contents(&salvaged.1);
    let known = |(name, device)| {
        film.history
            .get(name)
            .is_some_and(|was: &Vec<_>| was.contains(device))
    };
    assert!(new.devices.iter().all(known), "{error}");
    // Where the meta pages went back, they stand for an earlier commit, and that one may be taken
    // for the last.
    let txnid = pages.txnid();
    let mut moments = film.moments[..last].iter();
    let Some(earlier) = moments.position(|moment| moment.pages.txnid() == txnid) else {
        return Err(error);
    };
    let mut between = film.moments[earlier..last].iter();
    match between.any(|moment| moment.contents == new) {
        true => Ok(()),
        false => judge(&film.moments[earlier]).map_err(|other| format!("{error}; {other}")),
    }
}

fn try_one(store: usize, last: usize, how: u8, seed: u64) -> Result<(), String> {
    let film = film(store);
    let pages = damaged_by(film, last, how, &mut Rng(seed));
    let (_directory, path) = place();
    pages.write(&path);
    assert_nothing_stale_passes(film, last, &pages, &path);
    let wrong = wrong(film, last, &pages, &path);
    wrong.map_err(|wrong| match beyond(film, last, &pages) {
        true => format!("{BEYOND}{wrong}"),
        false => wrong,
    })
}

const BEYOND: &str = "too much is lost: ";

proptest! {
    #![proptest_config(properties(300))]

    #[test]
    fn lost_writes(
        store in 0..STORES.len(),
        last in LOST..KEPT,
        how in 0_u8..6,
        seed in any::<u64>(),
    ) {
        if let Err(wrong) = try_one(store, last, how, seed) {
            prop_assert!(wrong.starts_with(BEYOND), "{wrong}");
        }
    }
}

/// Each of these had something wrong: devices that were lost though their pages are whole, or of
/// which an older record was taken; ids that were given out again; an earlier commit that was
/// called complete.
#[test]
fn lost_writes_that_once_went_wrong_are_salvaged() {
    let mut wrong = Vec::new();
    for (store, last, how, seed) in [
        (0, 14, 0, 771),
        (0, 22, 0, 322),
        (0, 23, 0, 5102),
        (1, 6, 0, 2970),
        (1, 22, 0, 40684),
        (2, 12, 0, 9),
        (2, 12, 0, 66),
        (2, 15, 0, 360),
        (0, 9, 1, 835),
        (0, 10, 1, 374),
        (1, 13, 1, 1951),
        (1, 18, 1, 404),
        (2, 19, 2, 5461),
        (1, 17, 3, 132),
        (1, 19, 3, 571),
        (2, 13, 4, 3207),
        (0, 15, 5, 960),
        (1, 5, 5, 251),
        (1, 16, 5, 1624),
    ] {
        let outcome = try_one(store, last, how, seed);
        wrong.extend(outcome.err().map(|wrong| (store, last, how, seed, wrong)));
    }
    assert_eq!(wrong, vec![]);
}
