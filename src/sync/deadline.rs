//! Bounded waiting: nothing in this crate waits at one place longer than the lock wait that a store
//! was opened with.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The moment up to which one operation may wait. Nothing is asked of the clock until something has
/// to wait.
pub(crate) struct Deadline {
    wait: Duration,
    end: std::cell::Cell<Option<Instant>>,
}

impl Deadline {
    /// A wait of this length, which begins with the first thing that is waited for.
    pub fn after(wait: Duration) -> Deadline {
        Deadline {
            wait,
            end: std::cell::Cell::new(None),
        }
    }

    /// A wait of its own for something on the way: half as long, and no longer than `most`.
    pub fn part(&self, most: Duration) -> Deadline {
        Deadline::after(most.min(self.wait / 2))
    }

    /// What is left of the wait; zero once it is over.
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

    /// The error for a wait that was in vain.
    #[cold]
    pub fn expired(&self, what: impl Into<String>) -> Error {
        Error::Timeout {
            what: what.into(),
            waited: self.wait,
        }
    }

    /// Tries until there is something, sleeping a little longer each time, or until the deadline.
    pub fn poll<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        const LONGEST: Duration = Duration::from_millis(1);
        let mut pause = Duration::from_micros(10);
        loop {
            if let Some(got) = attempt()? {
                return Ok(got);
            }
            let left = self.left();
            if left.is_zero() {
                return Err(self.expired(what));
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST);
        }
    }
}
