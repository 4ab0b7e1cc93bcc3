//! Keeping `pthread_cancel` out of the library. A cancelled thread is unwound from the next system
//! call that waits. Inside the library that would end the process, because an `extern "C"` function
//! of Rust cannot be unwound, or leave locks held. So cancellation is disabled for each call, and
//! takes effect after it.

use std::ffi::c_int;

/// `PTHREAD_CANCEL_DISABLE` of pthread.h, the same in glibc and musl.
const DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// Keeps this thread from being cancelled until it is dropped; then the state from before is back.
pub(crate) struct Uncancelled {
    before: c_int,
    // The state belongs to the thread: this must not move to another one.
    _one_thread: std::marker::PhantomData<*const ()>,
}

impl Uncancelled {
    #[inline]
    pub fn begin() -> Uncancelled {
        Uncancelled {
            before: set(DISABLE),
            _one_thread: std::marker::PhantomData,
        }
    }
}

impl Drop for Uncancelled {
    #[inline]
    fn drop(&mut self) {
        set(self.before);
    }
}

/// Sets the cancellation state and returns the one before.
#[inline]
fn set(state: c_int) -> c_int {
    let mut before = state;
    if cfg!(not(miri)) {
        // SAFETY: `before` outlives the call, which fails only for numbers that are not a state.
        unsafe { pthread_setcancelstate(state, &mut before) };
    }
    before
}
