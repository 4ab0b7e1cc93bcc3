//! Writes from inside an update's callback.
//!
//! Such a write could wait for the very device that the callback has locked, so it is refused.

use crate::error::{Error, Result};
use crate::store::write::pool::Pool;
use crate::sync::callbacks::CallbackScope;

impl Pool {
    /// Refuses a write from inside a callback of this store on this thread. That the store is
    /// closed, or was opened before a fork, comes first, since it would still be so after the
    /// update has returned.
    pub fn check_not_in_update(&self) -> Result<()> {
        if CallbackScope::is_inside(&*self.queue) {
            return self.env.check_usable().and(Err(Error::NestedWrite));
        }
        Ok(())
    }
}
