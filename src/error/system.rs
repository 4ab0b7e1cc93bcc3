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

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::Path;

    use super::*;
    use crate::error::Error;

    #[test]
    fn source_of_an_io_error_downcasts_to_the_systems_error() {
        let system = io::Error::from_raw_os_error(libc::EIO);
        let error = Error::io("reading", Path::new("/pool.db"), system);
        let source = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::EIO));
    }
}
