//! A thread that is cancelled (`pthread_cancel`) is unwound from the next system call that waits.
//! Inside a call that would end the process, since a C function of Rust's cannot be unwound, or
//! leave locks held; so a request waits for the call's end.

use std::ffi::c_int;

/// `PTHREAD_CANCEL_DISABLE` of pthread.h, the same in glibc and musl.
const DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// This thread cannot be cancelled until this is dropped, and then only if it could be before.
pub(crate) struct Uncancelled {
    before: c_int,
    // Begun and ended on one thread.
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

/// Sets the state; what it was.
#[inline]
fn set(state: c_int) -> c_int {
    let mut before = state;
    if cfg!(not(miri)) {
        // SAFETY: `before` outlives the call, which fails for numbers that are no state, and only
        // then.
        unsafe { pthread_setcancelstate(state, &mut before) };
    }
    before
}
