//! Which commit is in force, in files as a store writes them.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::device::DeviceInfo;
use crate::store::{Change, OpenOptions, PoolMetadata};
use crate::verify::announcement;
use crate::verify::flush_mark;
use crate::verify::newest::{in_force, Probe};
use crate::verify::undo::InForce;
use crate::verify::{Level, Meta, Metas, Report};

/// Changes of a store, chosen at random.
struct Workload {
    store: PoolMetadata,
    path: PathBuf,
    seed: u64,
    next: usize,
    alive: Vec<String>,
    _directory: tempfile::TempDir,
}

impl Workload {
    fn new(seed: u64) -> Workload {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pool.db");
        Workload {
            store: PoolMetadata::open(&path).unwrap(),
            path,
            seed,
            next: 0,
            alive: Vec::new(),
            _directory: directory,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) as usize % limit
    }

    fn device(&mut self) -> DeviceInfo {
        self.next += 1;
        let spread = self.next.wrapping_mul(2_654_435_761) % 100_000;
        let name = format!("device-{spread:05}-{}", self.next);
        self.alive.push(name.clone());
        let len = [0, 0, 20, 300, 2500, 9000][self.below(6)];
        DeviceInfo {
            error: vec![b'e'; len],
            ..DeviceInfo::new(name)
        }
    }

    /// Some changes in one commit.
    fn step(&mut self, growing: bool) {
        let count = [1, 1, 1, 3, 40, 250][self.below(6)];
        let mut list = Vec::new();
        for _ in 0..count {
            let kind = self.below(10);
            if self.alive.is_empty() || kind < if growing { 7 } else { 3 } {
                list.push(Change::Add(self.device()));
            } else {
                let at = self.below(self.alive.len());
                let name = self.alive.swap_remove(at).into_bytes();
                list.push(Change::Remove { name });
            }
        }
        self.store.apply(&list).unwrap();
    }

    /// The file, without its flush marks.
    fn unmarked(&self) -> Vec<u8> {
        let mut bytes = std::fs::read(&self.path).unwrap();
        for page in 0..2 {
            let mark = page * 4096 + flush_mark::AT;
            bytes[mark..mark + flush_mark::LEN].fill(0);
        }
        bytes
    }
}

fn found(bytes: &[u8]) -> InForce {
    let metas = Metas::read(&bytes).unwrap();
    in_force(&bytes, &metas).unwrap().unwrap()
}

fn newest(bytes: &[u8]) -> u64 {
    let [first, second] = Metas::read(&bytes).unwrap().parse();
    first.unwrap().txnid.max(second.unwrap().txnid)
}

/// A commit that is whole and has no flush mark, as after a kill, is never taken for one that is
/// not: that would lose it.
#[test]
fn whole_commit_without_a_flush_mark_is_in_force() {
    for seed in 0..1 {
        let mut workload = Workload::new(seed);
        for step in 0..120 {
            workload.step(step % 60 < 40);
            let bytes = workload.unmarked();
            let InForce {
                meta, unfinished, ..
            } = found(&bytes);
            assert_eq!(meta.txnid, newest(&bytes));
            assert!(unfinished.is_none(), "{seed}, {step}: {unfinished:?}");
        }
    }
}

/// What undoing a commit takes for granted of LMDB: that it writes over no page of the two commits
/// before. So those are there as they were, whatever became of its own pages.
#[test]
fn commit_writes_over_no_page_of_the_two_before_it() {
    let mut workload = Workload::new(5);
    let mut before: Vec<Meta> = Vec::new();
    for step in 0..70 {
        workload.step(step % 40 < 25);
        let bytes = workload.unmarked();
        for meta in before.iter().rev().take(2) {
            let report = Report::of_commit(&&bytes[..], meta, Level::Full).unwrap();
            assert!(report.is_sound(), "{step}, commit {}: {report}", meta.txnid);
        }
        before.push(found(&bytes).meta);
        let [.., one, two] = &before[..] else {
            continue;
        };
        assert_eq!(one.txnid + 1, two.txnid);
    }
}

/// With any sector of its pages as it was before, the newest commit is not whole, and the one
/// before is in force; unless nothing that counts has changed by that. What is in force is sound.
#[test]
fn commit_with_a_missing_sector_is_undone() {
    let mut workload = Workload::new(9);
    for step in 0..25 {
        workload.step(step < 20);
    }
    let (mut undone, mut same) = (0, 0);
    for step in 0..30 {
        let before = workload.unmarked();
        workload.step(step % 3 < 2);
        let mut torn = workload.unmarked();
        let commit = newest(&torn);
        let sectors = (8192..torn.len() - 511).step_by(512);
        let old = |at| before.get(at..at + 512).unwrap_or(&[0; 512]);
        let changed: Vec<usize> = sectors
            .filter(|at| torn[*at..*at + 512] != *old(*at))
            .collect();
        for _ in 0..20 {
            let at = changed[workload.below(changed.len())];
            let new = torn[at..at + 512].to_vec();
            torn[at..at + 512].copy_from_slice(old(at));
            let InForce {
                meta, unfinished, ..
            } = found(&torn);
            let is_undone = unfinished.is_some();
            assert_eq!(meta.txnid + u64::from(is_undone), commit);
            let report = Report::of_commit(&&torn[..], &meta, Level::Full).unwrap();
            assert!(report.is_sound(), "{step}, sector at {at}: {report}");
            undone += u32::from(is_undone);
            same += u32::from(!is_undone);
            torn[at..at + 512].copy_from_slice(&new);
        }
    }
    println!("{undone} undone, {same} that changed nothing");
    assert!(undone > 200, "{undone} of 600");
}

/// A page that only the commit before has can be damaged, too. That shows in what both add up to,
/// and is not the newest one's fault.
#[test]
fn whole_commit_after_a_damaged_one_is_in_force() {
    let mut workload = Workload::new(3);
    for n in 0..40 {
        let name = format!("device-{n}");
        let added = workload.store.add_device(&mut DeviceInfo::new(&*name));
        added.unwrap();
        workload.alive.push(name);
    }
    let remove = |workload: &mut Workload| {
        let names = workload.alive.split_off(workload.alive.len() - 9);
        let removals = names.into_iter().map(|name| Change::Remove {
            name: name.into_bytes(),
        });
        workload.store.apply(&removals.collect::<Vec<_>>()).unwrap();
        workload.unmarked()
    };
    let (before, whole) = (remove(&mut workload), remove(&mut workload));
    let (old, new) = (found(&before).meta, found(&whole).meta);
    // It says how many pages a tree has, and has no checksum for that.
    let root = old.main.root.unwrap() as usize;
    let is_kept = |page: &usize| {
        let range = page * 4096..(page + 1) * 4096;
        before.get(range.clone()) == Some(&whole[range]) && *page != root
    };
    let kept: Vec<_> = (2..before.len() / 4096).filter(is_kept).collect();
    let some = kept
        .iter()
        .flat_map(|page| (page * 4096..(page + 1) * 4096).step_by(29));
    let some = some.map(|at| (at, at % 8));
    let list = old.free.root.unwrap() as usize * 4096;
    assert!(kept.contains(&(list / 4096)));
    let lists = (list..list + 4096).filter(|at| whole[*at] != 0);
    let lists = lists.flat_map(|at| (0..8).map(move |bit| (at, bit)));
    let (mut bytes, mut blamed) = (whole.clone(), Vec::new());
    for (at, bit) in some.chain(lists) {
        bytes[at] ^= 1 << bit;
        if found(&bytes).meta != new {
            blamed.push((at, bit));
        }
        bytes[at] = whole[at];
    }
    assert!(blamed.is_empty(), "{blamed:?}");
}

/// What a power cut has left can be of an older number than what is put in force. A process that
/// does that writes both meta pages, and between these there are not two commits one after the
/// other.
#[test]
fn probe_of_a_store_that_is_being_put_right_finds_its_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool.db");
    let mut options = OpenOptions::new();
    options.deferred_age(Duration::from_secs(3600));
    let store = options.open(&path).unwrap();
    let add = |store: &PoolMetadata, name: &str| store.add_device(&mut DeviceInfo::new(name));
    add(&store, "old").unwrap();
    let old = std::fs::read(&path).unwrap();
    for name in ["a", "b"] {
        add(&store, name).unwrap();
    }
    for name in ["c", "d", "e"] {
        add(&store.deferred(), name).unwrap();
    }
    let mut left = std::fs::read(&path).unwrap();
    for meta in [0, 4096] {
        left[meta..meta + 512].copy_from_slice(&old[meta..meta + 512]);
    }
    let mut probe = Probe::default();
    let mut find = |bytes: &[u8]| {
        let metas = Metas::read(&bytes).unwrap();
        probe.in_force(&bytes, &metas).unwrap().unwrap()
    };
    let found = find(&left);
    let undo = found.unfinished.unwrap().undo;
    assert_eq!(undo.len(), 2);
    for undo in &undo {
        let at = undo.offset as usize;
        left[at..at + undo.bytes.len()].copy_from_slice(&undo.bytes);
        assert_eq!(find(&left).meta, found.meta);
    }
}

/// What another process has announced and not made: its pages may be on the disk. The next commit
/// gets that number, and is announced instead, although it comes right after another of this
/// process.
#[test]
fn announcement_of_a_commit_that_was_not_made_is_replaced() {
    let mut workload = Workload::new(1);
    let mut announced = |stale: Option<u128>| {
        let next = newest(&std::fs::read(&workload.path).unwrap()) + 1;
        if let Some(digest) = stale {
            let file = std::fs::File::options().write(true).open(&workload.path);
            let bytes = announcement::encode(next, digest);
            let at = announcement::offset(next, 4096);
            file.unwrap().write_all_at(&bytes, at).unwrap();
        }
        workload.step(true);
        let bytes = std::fs::read(&workload.path).unwrap();
        assert_eq!(newest(&bytes), next);
        Metas::read(&&bytes[..]).unwrap().expected(next).digest
    };
    assert!(announced(None).is_some(), "the first of a process");
    assert_eq!(announced(None), None);
    let replaced = announced(Some(7));
    assert!(replaced.is_some_and(|digest| digest != 7), "{replaced:?}");
    assert_eq!(announced(None), None);
    workload.store.verify().unwrap();
}
