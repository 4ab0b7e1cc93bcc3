//! Long reads: a read transaction of its own with a cursor, for walks that outlive one call.

use super::error::from_code;
use super::reader::{sort_begin, Begin};
use super::{Deadline, Env};
use crate::digest::Table;
use crate::error::{Error, Result};
use lmdb_sys as ffi;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How many snapshots of one environment are open, and whether more may be opened.
#[derive(Default)]
pub(super) struct Count {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When each was opened, by its number: in the order in which they came.
    open: BTreeMap<u64, Instant>,
    opened: u64,
    /// How many wait for all to be closed.
    wanted: usize,
    blocked: bool,
}

/// No snapshot is open and none can be opened, until this is dropped.
pub(super) struct Blocked<'a>(&'a Count);

impl Count {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many are open, and how long the oldest of them has been.
    pub fn open(&self) -> (usize, Duration) {
        let state = self.lock();
        let oldest = state.open.values().next();
        (
            state.open.len(),
            oldest.map_or(Duration::ZERO, Instant::elapsed),
        )
    }

    /// Counts one more; its number.
    fn enter(&self, deadline: &Deadline) -> Result<u64> {
        let mut state = self.lock();
        if state.wanted > 0 {
            // Somebody waits for all snapshots to end, and gets there only if no new ones begin.
            // But it could be waiting for one that this thread has open, so this is a
            // courtesy, and not for the whole wait.
            let courtesy = Deadline::after(deadline.left() / 8);
            let gone = self.wait_while(state, &courtesy, "", |s| s.wanted > 0);
            state = gone.unwrap_or_else(|_| self.lock());
        }
        let mut state =
            self.wait_while(state, deadline, "a change of the map's size", |s| s.blocked)?;
        state.opened += 1;
        let number = state.opened;
        state.open.insert(number, Instant::now());
        Ok(number)
    }

    fn leave(&self, number: u64) {
        self.lock().open.remove(&number);
        self.changed.notify_all();
    }

    /// Waits until no snapshot is open, and keeps it that way.
    pub fn block(&self, deadline: &Deadline) -> Result<Blocked<'_>> {
        let mut state = self.lock();
        state.wanted += 1;
        let waited = self.wait_while(state, deadline, "walks that are open", |s| {
            !s.open.is_empty() || s.blocked
        });
        let (mut state, failed) = match waited {
            Ok(state) => (state, None),
            Err(error) => (self.lock(), Some(error)),
        };
        state.wanted -= 1;
        state.blocked |= failed.is_none();
        drop(state);
        self.changed.notify_all();
        match failed {
            None => Ok(Blocked(self)),
            Some(error) => Err(error),
        }
    }

    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: &Deadline,
        what: &str,
        condition: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        while condition(&state) {
            let left = deadline.left();
            if left.is_zero() {
                return Err(deadline.expired(what));
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(state)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.lock().blocked = false;
        self.0.changed.notify_all();
    }
}

/// A consistent view of the store at one commit, with a cursor over its devices.
///
/// It may move between threads (`MDB_NOTLS`) and is used by one at a time.
pub(crate) struct Snapshot {
    env: Arc<Env>,
    /// Its number among those that are open.
    number: u64,
    txn: *mut ffi::MDB_txn,
    cursor: *mut ffi::MDB_cursor,
}

// SAFETY: a read transaction under MDB_NOTLS belongs to no thread; `&mut self` keeps its uses
// apart.
unsafe impl Send for Snapshot {}

/// A row's key and value.
pub(crate) type Row<'a> = (&'a [u8], &'a [u8]);

/// Where a cursor is to go.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Move {
    First = ffi::MDB_FIRST,
    Next = ffi::MDB_NEXT,
    Stay = ffi::MDB_GET_CURRENT,
}

impl Snapshot {
    /// Opens a snapshot of the newest commit.
    pub fn open(env: &Arc<Env>) -> Result<Snapshot> {
        let deadline = env.deadline();
        env.check_usable()?;
        let mut turn = env.after_others(&deadline)?;
        loop {
            env.check_usable()?;
            let number = env.snapshots.enter(&deadline)?;
            // From here on, dropping the snapshot undoes what was done.
            let mut snapshot = Snapshot {
                env: Arc::clone(env),
                number,
                txn: ptr::null_mut(),
                cursor: ptr::null_mut(),
            };
            env.check_usable()?;
            // SAFETY: the environment stays open while the snapshot is counted.
            let code = unsafe {
                ffi::mdb_txn_begin(
                    env.raw(),
                    ptr::null_mut(),
                    ffi::MDB_RDONLY,
                    &mut snapshot.txn,
                )
            };
            match sort_begin(env.path(), code) {
                Begin::Ok => {
                    snapshot.cursor = snapshot.new_cursor(env.tables.devices.dbi())?;
                    return Ok(snapshot);
                }
                Begin::Failed(error) => return Err(error),
                Begin::Resized => {
                    drop(snapshot);
                    env.adopt_map_size(&deadline)?;
                }
                Begin::GivenUp => {
                    drop(snapshot);
                    env.renew(&deadline)?;
                }
                Begin::SlotsFull => {
                    drop(snapshot);
                    env.wait_for_place(&deadline, &mut turn)?;
                }
            }
        }
    }

    /// The environment that this is a view of.
    pub fn env(&self) -> &Arc<Env> {
        &self.env
    }

    /// LMDB's number of the commit that this is a view of.
    pub fn commit(&self) -> u64 {
        // SAFETY: the transaction runs until this is dropped.
        unsafe { ffi::mdb_txn_id(self.txn) as u64 }
    }

    /// A forked child has no use of its parent's transaction, which the parent may end and replace.
    #[inline]
    fn check_own_process(&self) -> Result<()> {
        if self.env.is_own_process() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    fn new_cursor(&self, dbi: ffi::MDB_dbi) -> Result<*mut ffi::MDB_cursor> {
        self.check_own_process()?;
        let mut cursor = ptr::null_mut();
        // SAFETY: the transaction runs; whoever asked for the cursor closes it before that ends.
        match unsafe { ffi::mdb_cursor_open(self.txn, dbi, &mut cursor) } {
            ffi::MDB_SUCCESS => Ok(cursor),
            code => Err(from_code("opening a cursor", self.env.path(), code)),
        }
    }

    /// Moves the cursor and shows the device's row that it is on then, `None` past the last, and
    /// the environment.
    #[inline]
    pub fn device_row(&mut self, to: Move) -> Result<(Option<Row<'_>>, &Env)> {
        // SAFETY: the cursor is open, and what it shows is only used until it is moved, which needs
        // `&mut self`.
        Ok((unsafe { self.move_cursor(self.cursor, to)? }, &self.env))
    }

    /// Shows every row of a table to `visit`, in the order of keys, beside the walk over devices.
    pub fn each_row(
        &self,
        table: Table,
        visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.each_row_of(self.env.tables.get(table).dbi(), visit)
    }

    /// The same for any of LMDB's databases.
    pub(super) fn each_row_of(
        &self,
        dbi: ffi::MDB_dbi,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        struct Closing(*mut ffi::MDB_cursor);
        impl Drop for Closing {
            fn drop(&mut self) {
                // SAFETY: opened below, and its transaction still runs.
                unsafe { ffi::mdb_cursor_close(self.0) };
            }
        }
        let cursor = Closing(self.new_cursor(dbi)?);
        let mut to = Move::First;
        // SAFETY: the cursor is open, and each row is only used before the next.
        while let Some((key, value)) = unsafe { self.move_cursor(cursor.0, to)? } {
            visit(key, value)?;
            to = Move::Next;
        }
        Ok(())
    }

    /// # Safety
    /// The cursor is an open one of this snapshot's. The row is not used after the snapshot's end.
    #[inline]
    unsafe fn move_cursor<'r>(
        &self,
        cursor: *mut ffi::MDB_cursor,
        to: Move,
    ) -> Result<Option<Row<'r>>> {
        self.check_own_process()?;
        let mut key = ffi::MDB_val {
            mv_size: 0,
            mv_data: ptr::null_mut(),
        };
        let mut value = key;
        // SAFETY: the cursor belongs to the running transaction, says the caller.
        match unsafe { ffi::mdb_cursor_get(cursor, &mut key, &mut value, to as libc::c_uint) } {
            // SAFETY: both lie in the map until the transaction ends.
            ffi::MDB_SUCCESS => Ok(Some(unsafe { (bytes(&key), bytes(&value)) })),
            ffi::MDB_NOTFOUND => Ok(None),
            code => Err(from_code("walking over rows", self.env.path(), code)),
        }
    }

    /// The header row in this view.
    pub fn header_row(&self) -> Result<Option<&[u8]>> {
        self.check_own_process()?;
        let name = crate::header::KEY;
        let mut key = ffi::MDB_val {
            mv_size: name.len(),
            mv_data: name.as_ptr() as *mut libc::c_void,
        };
        let mut value = ffi::MDB_val {
            mv_size: 0,
            mv_data: ptr::null_mut(),
        };
        // SAFETY: the transaction runs; LMDB only reads the key.
        match unsafe { ffi::mdb_get(self.txn, self.env.tables.main.dbi(), &mut key, &mut value) } {
            // SAFETY: the value lies in the map until the transaction ends, which needs `&mut
            // self`.
            ffi::MDB_SUCCESS => Ok(Some(unsafe { bytes(&value) })),
            ffi::MDB_NOTFOUND => Ok(None),
            code => Err(from_code("reading the header row", self.env.path(), code)),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.env.is_own_process() {
            return; // a forked child leaves the parent's transaction alone
        }
        if !self.cursor.is_null() {
            // SAFETY: the cursor is open and its transaction still runs.
            unsafe { ffi::mdb_cursor_close(self.cursor) };
        }
        if !self.txn.is_null() {
            // SAFETY: the transaction runs and is not used again.
            unsafe { ffi::mdb_txn_abort(self.txn) };
            self.env.places.given_back();
        }
        self.env.snapshots.leave(self.number);
    }
}

/// # Safety
/// `value` describes memory that lives, unchanged, for as long as the borrow that the caller gives
/// it.
pub(super) unsafe fn bytes<'a>(value: &ffi::MDB_val) -> &'a [u8] {
    if value.mv_size == 0 {
        return &[];
    }
    // SAFETY: says the caller.
    unsafe { std::slice::from_raw_parts(value.mv_data.cast::<u8>(), value.mv_size) }
}

impl Env {
    pub(super) fn is_own_process(&self) -> bool {
        super::process::stamp() == self.stamp
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::PoolMetadata;

    #[test]
    fn a_forked_child_reads_nothing_of_its_parents_view() {
        let directory = tempfile::tempdir().unwrap();
        let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
        let walk = store.walk().unwrap();
        let snapshot = walk.snapshot();
        // SAFETY: the child looks at memory, makes no more than small errors, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = matches!(snapshot.header_row(), Err(Error::Forked))
                && matches!(walk.ids(), Err(Error::Forked));
            // SAFETY: ends the child without what the parent's threads have registered.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) };
        }
        assert!(child > 0);
        let mut status = -1;
        // SAFETY: the child is this process's own, and `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(snapshot.header_row().unwrap().is_some());
    }
}
