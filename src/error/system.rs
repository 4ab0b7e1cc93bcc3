//! The system's error behind one of this crate's.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

/// An [`io::Error`] that can be cloned. It derefs to the error, which is also what
/// [`Error::source`](std::error::Error::source) gives, so that a caller can downcast it.
///
/// It is no error itself: `Arc<io::Error>` is one, and would be the source in its place.
#[derive(Clone)]
pub struct SystemError(Arc<io::Error>);

impl SystemError {
    pub(crate) fn new(error: io::Error) -> SystemError {
        SystemError(Arc::new(error))
    }
}

impl Deref for SystemError {
    type Target = io::Error;

    fn deref(&self) -> &io::Error {
        &self.0
    }
}

impl fmt::Debug for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}
