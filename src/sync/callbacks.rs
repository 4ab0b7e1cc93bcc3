//! Whose callbacks are running on this thread.
//!
//! A call from inside a callback may need what the caller of the callback holds until it returns:
//! waiting for it could only time out, so such a call is refused at once.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

thread_local! {
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Until dropped, this thread is inside a callback on behalf of `T`.
pub(crate) struct CallbackScope<T> {
    // Keeps the address from being another owner's.
    _owner: Arc<T>,
    // Entered and left on one thread.
    _one_thread: PhantomData<*const ()>,
}

impl<T> CallbackScope<T> {
    pub fn enter(owner: &Arc<T>) -> CallbackScope<T> {
        RUNNING.with_borrow_mut(|owners| owners.push(Arc::as_ptr(owner) as usize));
        CallbackScope {
            _owner: Arc::clone(owner),
            _one_thread: PhantomData,
        }
    }

    /// Whether this thread is inside a callback on behalf of this owner.
    pub fn is_inside(owner: &T) -> bool {
        let owner = std::ptr::from_ref(owner) as usize;
        RUNNING
            .try_with(|owners| owners.borrow().contains(&owner))
            .unwrap_or(false)
    }
}

impl<T> Drop for CallbackScope<T> {
    fn drop(&mut self) {
        // Callbacks nest, so the last one entered is the first one left.
        let _ = RUNNING.try_with(|owners| owners.borrow_mut().pop());
    }
}
