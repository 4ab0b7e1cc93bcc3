//! Which stores have an update's callback running on this thread.
//!
//! A write from inside one could wait for the very device that the callback has locked, so it is
//! refused.

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::write::pool::Pool;

thread_local! {
    static SCOPES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Until dropped, this thread is inside a callback of the store.
pub(crate) struct CallbackScope {
    // Keeps the address from being another store's.
    _pool: Arc<Pool>,
    // Entered and left on one thread.
    _one_thread: std::marker::PhantomData<*const ()>,
}

impl CallbackScope {
    pub fn enter(pool: &Arc<Pool>) -> CallbackScope {
        SCOPES.with_borrow_mut(|stores| stores.push(Arc::as_ptr(pool) as usize));
        CallbackScope {
            _pool: Arc::clone(pool),
            _one_thread: std::marker::PhantomData,
        }
    }
}

impl Drop for CallbackScope {
    fn drop(&mut self) {
        // Callbacks nest, so the last one entered is the first one left.
        let _ = SCOPES.try_with(|stores| stores.borrow_mut().pop());
    }
}

impl Pool {
    /// Refuses a write from inside a callback of this store on this thread. That the store is
    /// closed, or was opened before a fork, comes first, since it would still be so after the
    /// update has returned.
    pub fn check_not_in_update(&self) -> Result<()> {
        let this = std::ptr::from_ref(self) as usize;
        match SCOPES.try_with(|stores| stores.borrow().contains(&this)) {
            Ok(true) => self.env.check_usable().and(Err(Error::NestedWrite)),
            _ => Ok(()),
        }
    }
}
