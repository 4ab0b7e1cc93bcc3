use std::sync::Arc;

use super::*;
use crate::format::table::Table;
use crate::lmdb::open::tests::open;
use crate::lmdb::raw::PutMode;
use crate::lmdb::snapshot::Snapshot;

const KEY: &[u8] = b"key";

/// Commits a row and does not flush it, as a process does that is killed before it could; the
/// number of that commit.
fn commit_unflushed(env: &Env) -> u64 {
    let waits = env.lock_wait();
    let _writing = env.begin_writing(&waits).unwrap();
    let lmdb = env.lmdb().unwrap();
    let mut txn = WriteTxn::begin(&lmdb, env.tables.devices).unwrap();
    txn.put(env.tables.ids, KEY, b"row", PutMode::New).unwrap();
    let number = txn.commit_number();
    txn.commit().unwrap();
    number
}

fn write(env: &Env, wait: Duration) -> Result<()> {
    let waits = LockWait::new(wait);
    let writing = env.begin_writing(&waits)?;
    writing.run(|txn| txn.put(Table::Ids, b"next", b"row"))
}

fn is_there(env: &Env, key: &[u8]) -> bool {
    env.read_row(Table::Ids, key, |row| Ok(row.is_some()))
        .unwrap()
}

fn keys(snapshot: &Snapshot) -> usize {
    let mut count = 0;
    let counted = snapshot.each_row(Table::Ids, |_, _| {
        count += 1;
        Ok(())
    });
    counted.unwrap();
    count
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn commit_that_a_killed_process_left_is_flushed_before_the_next_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let env = open(&directory);
    write(&env, LONG).unwrap();
    let flushes = || env.counters.flushes.load(Ordering::Relaxed);
    for (left, expected) in [(false, 1), (true, 2), (false, 1)] {
        if left {
            commit_unflushed(&env);
        }
        let before = flushes();
        write(&env, LONG).unwrap();
        assert_eq!(flushes() - before, expected);
        let one_flush = env.one_flush.as_ref().unwrap();
        assert_eq!(one_flush.pages.mark().flushed, one_flush.newest_commit());
        let info = env.lmdb().unwrap().info().unwrap();
        assert_eq!(one_flush.pages.used_pages(), info.pages as u64);
    }
    assert!(is_there(&env, KEY));
}

/// What a failed flush has left unwritten, a later one that succeeds need not write.
#[test]
fn commit_whose_flush_has_failed_is_verified_on_the_disk_before_the_next_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let env = open(&directory);
    // Its row is one that no store has, so that it is not sound.
    let commit = commit_unflushed(&env);
    let one_flush = env.one_flush.as_ref().unwrap();
    env.note_failed(one_flush, commit);
    assert_eq!(one_flush.pages.mark(), FlushMark::of_failed(commit, 0));
    assert_eq!(one_flush.newest_commit(), commit);
    assert!(is_there(&env, KEY));
    let refused = write(&env, LONG);
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("after a failed flush"), "{message}");
    assert!(message.contains(env.path().to_str().unwrap()), "{message}");
    assert!(env.writes_stopped.load(Ordering::Relaxed));
    assert_eq!(one_flush.newest_commit(), commit);
}

#[test]
fn undone_commit_is_read_on_by_those_that_saw_it_and_by_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let env: Arc<Env> = open(&directory);
    let commit = commit_unflushed(&env);
    let saw_it = Snapshot::open(&env).unwrap();
    env.undo(commit);
    assert!(!is_there(&env, KEY));
    assert_eq!(keys(&Snapshot::open(&env).unwrap()), 0);
    // Its pages would be written over, so the next write waits for that read.
    let refused = write(&env, Duration::from_millis(30));
    assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
    assert_eq!(keys(&saw_it), 1);
    drop(saw_it);
    write(&env, LONG).unwrap();
    assert!(!is_there(&env, KEY) && is_there(&env, b"next"));
    assert!(!env.writes_stopped.load(Ordering::Relaxed));
}

/// The number of the commit is no proof that its reads were waited for: a commit of the same number
/// can be undone again.
#[test]
fn reads_of_a_commit_that_is_undone_again_are_waited_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let env: Arc<Env> = open(&directory);
    let commit = commit_unflushed(&env);
    env.undo(commit);
    let waits = env.lock_wait();
    let writing = env.begin_writing(&waits).unwrap();
    env.settle(&waits, || ()).unwrap();
    drop(writing);
    assert_eq!(commit_unflushed(&env), commit);
    let saw_it = Snapshot::open(&env).unwrap();
    env.undo(commit);
    let refused = write(&env, Duration::from_millis(30));
    assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
    assert_eq!(keys(&saw_it), 1);
    drop(saw_it);
    write(&env, LONG).unwrap();
}

/// A process can be killed between the two steps of undoing a commit, or LMDB's lock file can
/// say something else than the meta pages for another reason.
#[test]
fn write_after_a_half_undone_commit_follows_the_meta_pages() {
    for file_undone in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let commit = commit_unflushed(&env);
        if file_undone {
            env.undo(commit);
        }
        let newest = env.one_flush.as_ref().unwrap().newest_commit();
        env.correct_lock_file(if file_undone { commit } else { commit - 1 })
            .unwrap();
        assert_eq!(newest == commit, !file_undone);
        write(&env, LONG).unwrap();
        assert_eq!(env.one_flush.as_ref().unwrap().newest_commit(), newest + 1);
        assert_eq!(is_there(&env, KEY), !file_undone);
        assert!(is_there(&env, b"next"));
    }
}
