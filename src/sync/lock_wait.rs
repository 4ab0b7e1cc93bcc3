//! How long one call that writes may wait, and for what.

use std::cell::Cell;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::deadline::Deadline;

/// What a write waits for, in this order.
#[derive(Clone, Copy)]
pub(crate) enum WaitFor {
    /// The device's lock in this process.
    Device,
    /// The lead of the commit queue, the writer gate and the lock between processes.
    Turn,
    /// A larger map, that is, the end of the walks and reads that use the present one.
    Growth,
}

/// The lock wait of one call that writes. All that the call waits for goes through here, by one
/// rule:
///
/// A change waits for one lock wait in all, from the first thing on that it has to wait for. In a
/// list each change, or each commit of several, has a lock wait of its own, since the work on a
/// long list is no wait. But what has timed out is not waited for again in the same call: the
/// changes after it get it only if it is free at once. So the call has an end, and a change that
/// needs no larger map, say, still gets its turn after one that needed it and timed out.
pub(crate) struct LockWait {
    length: Duration,
    /// For the present change.
    change: Deadline,
    /// Whether each [`WaitFor`] has timed out.
    spent: [Cell<bool>; 3],
}

impl LockWait {
    pub fn new(length: Duration) -> LockWait {
        LockWait {
            length,
            change: Deadline::after(length),
            spent: Default::default(),
        }
    }

    /// Begins the wait of the call's next change.
    pub fn next_change(&mut self) {
        self.change = Deadline::after(self.length);
    }

    /// Waits for something, within what the call has left for it.
    #[inline]
    pub fn wait_for<T>(
        &self,
        what: WaitFor,
        wait: impl FnOnce(&Deadline) -> Result<T>,
    ) -> Result<T> {
        let spent = &self.spent[what as usize];
        if spent.get() {
            return wait(&Deadline::over(self.length));
        }
        let waited = wait(&self.change);
        if let Err(Error::Timeout { .. }) = waited {
            spent.set(true);
        }
        waited
    }

    /// What the present change has left, for a wait that says nothing about later changes.
    pub fn left(&self) -> &Deadline {
        &self.change
    }

    /// Whether a change is to be tried again whose leader has timed out, which need not mean that
    /// this call has.
    ///
    /// If not, then the leader most likely waited for a larger map, which counts as spent, and the
    /// next time as much as this call's turn: else each change of a list could wait for a leader
    /// that times out.
    pub fn retry_after_leader(&self) -> bool {
        let [_, turn, growth] = &self.spent;
        let retry = !turn.get() && !growth.get() && !self.change.left().is_zero();
        if !retry && growth.replace(true) {
            turn.set(true);
        }
        retry
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn time_out(waits: &LockWait, what: WaitFor) {
        let timed_out = waits.wait_for(what, |deadline| Err::<(), _>(deadline.expired("it")));
        assert!(matches!(timed_out, Err(Error::Timeout { waited, .. }) if waited == LENGTH));
    }

    fn left(waits: &LockWait, what: WaitFor) -> Duration {
        waits
            .wait_for(what, |deadline| Ok(deadline.left()))
            .unwrap()
    }

    #[test]
    fn change_has_one_wait_for_all_and_the_next_one_of_its_own() {
        let mut waits = LockWait::new(Duration::from_millis(20));
        waits.wait_for(WaitFor::Device, |_| Ok(())).unwrap();
        assert!(!left(&waits, WaitFor::Device).is_zero());
        std::thread::sleep(Duration::from_millis(20));
        for what in [WaitFor::Device, WaitFor::Turn, WaitFor::Growth] {
            assert!(left(&waits, what).is_zero());
        }
        waits.next_change();
        for what in [WaitFor::Device, WaitFor::Turn, WaitFor::Growth] {
            assert!(!left(&waits, what).is_zero());
        }
    }

    #[test]
    fn wait_that_timed_out_is_spent_for_all_later_changes_and_no_other_is() {
        let mut waits = LockWait::new(LENGTH);
        time_out(&waits, WaitFor::Growth);
        for _ in 0..2 {
            assert!(left(&waits, WaitFor::Growth).is_zero());
            assert!(!left(&waits, WaitFor::Device).is_zero());
            assert!(!left(&waits, WaitFor::Turn).is_zero());
            waits.next_change();
        }
        let refused = waits.wait_for(WaitFor::Device, |_| Err::<(), _>(Error::Closed));
        assert!(refused.is_err());
        assert!(
            !left(&waits, WaitFor::Device).is_zero(),
            "it was no timeout"
        );
    }

    #[test]
    fn leader_that_times_out_is_retried_until_this_call_has_timed_out() {
        let mut waits = LockWait::new(LENGTH);
        assert!(waits.retry_after_leader());
        assert!(!left(&waits, WaitFor::Growth).is_zero());
        waits.change = Deadline::over(LENGTH);
        assert!(!waits.retry_after_leader());
        waits.next_change();
        assert!(left(&waits, WaitFor::Growth).is_zero());
        assert!(!left(&waits, WaitFor::Turn).is_zero());
        assert!(!waits.retry_after_leader(), "what it waits for is spent");
        assert!(left(&waits, WaitFor::Turn).is_zero());
        assert!(!left(&waits, WaitFor::Device).is_zero());
    }
}
