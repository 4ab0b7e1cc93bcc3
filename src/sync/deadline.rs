//! Bounded waiting: nothing in this crate waits at one place longer than the lock wait that a store
//! was opened with.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The moment up to which one operation may wait. Nothing is asked of the clock until something has
/// to wait.
pub(crate) struct Deadline {
    wait: Duration,
    end: std::cell::Cell<Option<Instant>>,
}

impl Deadline {
    /// A wait of this length, which begins when the first thing is waited for.
    pub fn after(wait: Duration) -> Deadline {
        Deadline {
            wait,
            end: std::cell::Cell::new(None),
        }
    }

    /// How long to wait for something on the way: at most half of this wait, and at most `most`.
    pub fn part(&self, most: Duration) -> Duration {
        most.min(self.wait / 2)
    }

    /// A wait of this length that is over, for what is only to be had if it is free at once.
    #[cold]
    pub fn over(wait: Duration) -> Deadline {
        Deadline {
            wait,
            end: std::cell::Cell::new(Some(Instant::now())),
        }
    }

    /// What is left of the wait; zero once it is over. In a model, which has no clock, a wait is
    /// without end, or it is over when it is looked at again.
    #[cfg(loom)]
    pub fn left(&self) -> Duration {
        let first = self.end.replace(Some(Instant::now())).is_none();
        if first || self.wait >= crate::sync::primitives::ENDLESS {
            self.wait
        } else {
            Duration::ZERO
        }
    }

    /// What is left of the wait; zero once it is over.
    #[cfg(not(loom))]
    pub fn left(&self) -> Duration {
        let now = Instant::now();
        let end = self.end.get().unwrap_or_else(|| {
            // A wait too long for the clock is as good as a century.
            let end = now
                .checked_add(self.wait)
                .unwrap_or(now + Duration::from_secs(100 * 365 * 86_400));
            self.end.set(Some(end));
            end
        });
        end.saturating_duration_since(now)
    }

    /// Begins the wait anew. It is never so short that a thread which does so again and again would
    /// take a processor.
    pub fn restart(&self) {
        const SHORTEST: Duration = Duration::from_millis(10);
        self.end
            .set(Instant::now().checked_add(self.wait.max(SHORTEST)));
    }

    /// The error for a wait for `what` that has timed out.
    #[cold]
    pub fn expired(&self, what: impl Into<String>) -> Error {
        Error::Timeout {
            what: what.into(),
            waited: self.wait,
        }
    }

    /// Repeats `attempt` until it returns something or the deadline comes, and sleeps in between, a
    /// little longer each time.
    pub fn poll<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        const LONGEST: Duration = Duration::from_millis(1);
        let mut next = Duration::from_micros(10);
        self.poll_paced(what, || {
            let pause = next;
            next = (next * 2).min(LONGEST);
            Ok(match attempt()? {
                Some(got) => ControlFlow::Break(got),
                None => ControlFlow::Continue(pause),
            })
        })
    }

    /// Repeats `attempt` until it returns something or the deadline comes, and sleeps in between
    /// for as long as it says.
    pub fn poll_paced<T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Result<ControlFlow<T, Duration>>,
    ) -> Result<T> {
        loop {
            let pause = match attempt()? {
                ControlFlow::Break(got) => return Ok(got),
                ControlFlow::Continue(pause) => pause,
            };
            let left = self.left();
            if left.is_zero() {
                return Err(self.expired(what));
            }
            std::thread::sleep(pause.min(left));
        }
    }
}
