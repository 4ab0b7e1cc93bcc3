//! What a `pm_store` points to: a few bytes that outlive the store, so that a call that comes after
//! pm_close finds a closed store and not freed memory.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::capi::cancel::Uncancelled;
use crate::device::DeviceRef;
use crate::error::{Error, Result};
use crate::lmdb::read::Try;
use crate::store::write::pool::Pool;
use crate::store::PoolMetadata;
use crate::sync::deadline::Deadline;
use crate::sync::read_permits::{wait_for_reads, ReadPermit};

/// An open store. pm_open and pm_deferred make it, pm_close ends it; any number of threads may use
/// it at once.
///
/// The library keeps the handle's few bytes until the process ends, so that calls on a closed store
/// fail with PM_ERR_CLOSED and do not use freed memory.
pub struct pm_store {
    /// Read by threads that hold a read permit and have not found it cleared; taken out once all
    /// those reads have ended.
    pool: UnsafeCell<Option<Arc<Pool>>>,
    cleared: AtomicBool,
    lock_wait: Duration,
    /// Whether pm_open has made it, and so its end is the store's.
    is_first: bool,
    /// The handle that was made before this one, so that leak checkers can reach all of them.
    older: *const pm_store,
}

static NEWEST: AtomicPtr<pm_store> = AtomicPtr::new(ptr::null_mut());

/// Makes the handle for a store that was just opened.
pub(crate) fn of_opened(store: &PoolMetadata, lock_wait: Duration) -> *mut pm_store {
    new(store, lock_wait, true)
}

fn new(store: &PoolMetadata, lock_wait: Duration, is_first: bool) -> *mut pm_store {
    let handle = Box::into_raw(Box::new(pm_store {
        pool: UnsafeCell::new(Some(Arc::clone(store.pool()))),
        cleared: AtomicBool::new(false),
        lock_wait,
        is_first,
        older: ptr::null(),
    }));
    let mut newest = NEWEST.load(Ordering::Acquire);
    loop {
        // SAFETY: the handle was just made, and no other thread has its address yet.
        unsafe { (*handle).older = newest };
        match NEWEST.compare_exchange_weak(newest, handle, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return handle,
            Err(now) => newest = now,
        }
    }
}

impl pm_store {
    fn deadline(&self) -> Deadline {
        Deadline::after(self.lock_wait)
    }

    /// Another handle of the store, for deferred writes.
    pub(crate) fn deferred(&self) -> Result<*mut pm_store> {
        let store = self.store()?;
        store.pool().env.check_usable()?;
        Ok(new(&store.deferred(), self.lock_wait, false))
    }

    /// Ends the handle, and closes the store if pm_open has made it.
    pub(crate) fn close(&self) -> Result<()> {
        let store = self.store()?;
        let closed = match self.is_first {
            true => store.close(),
            false => store
                .pool()
                .check_not_in_update()
                .and_then(|()| store.pool().env.check_usable()),
        };
        let is_closed = matches!(store.pool().env.check_usable(), Err(Error::Closed));
        drop(store);
        // A store may have been closed by a failure, or through its other handle: its memory is
        // released here as well.
        if is_closed || closed.is_ok() {
            self.clear();
        }
        closed
    }

    /// The store, for as long as the read permit is held.
    #[inline]
    fn seen<'a>(&'a self, _permit: &'a ReadPermit) -> Result<&'a Arc<Pool>> {
        if self.cleared.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        // SAFETY: `clear` takes it out only after every permit was free once since `cleared` was
        // set. The caller holds a permit for as long as the borrow, and has seen that it was not
        // set.
        unsafe { (*self.pool.get()).as_ref() }.ok_or(Error::Closed)
    }

    /// The store, shared with the caller, for calls that may wait and must not keep a permit. The
    /// permit for cloning it, and the clone, take 55 of the 13,400 instructions of an add.
    pub(crate) fn store(&self) -> Result<PoolMetadata> {
        let permit = ReadPermit::acquire(&self.deadline())?;
        Ok(PoolMetadata::from_pool(Arc::clone(self.seen(&permit)?)))
    }

    /// Shows one device to `look`, once, while the read lasts. A read that has to wait for nothing
    /// makes no system call.
    #[inline]
    pub(crate) fn read<R>(
        &self,
        name: &[u8],
        mut look: impl FnMut(DeviceRef<'_>) -> Result<R>,
    ) -> Result<R> {
        if let Some(permit) = ReadPermit::try_acquire() {
            if let Try::Done(done) = self.seen(&permit)?.try_read(&permit, name, &mut look)? {
                return Ok(done);
            }
        }
        let _uncancelled = Uncancelled::begin();
        self.store()?.pool().read(name, look)
    }

    /// Releases the memory of a store that has been closed.
    fn clear(&self) {
        if self.cleared.swap(true, Ordering::SeqCst) {
            return; // another thread releases it, or has
        }
        if wait_for_reads(&self.deadline()).is_ok() {
            // SAFETY: no read that saw it uncleared is left, and only the thread that set `cleared`
            // comes here.
            drop(unsafe { (*self.pool.get()).take() });
        } else {
            // The wait timed out: the closed store keeps its memory until pm_close is called again.
            self.cleared.store(false, Ordering::SeqCst);
        }
    }
}
