//! What a process knows of the commits that it has deferred.

use std::time::Instant;

/// What a process has deferred.
#[derive(Debug, Default)]
pub(super) enum Deferral {
    /// Nothing.
    #[default]
    None,
    /// This commit, and the one before it was flushed.
    First(u64),
    /// Any number of commits: the last that was flushed has an anchor and a pin.
    Anchored(Anchored),
}

/// Commits that are deferred behind two anchors.
#[derive(Debug)]
pub(super) struct Anchored {
    /// The newest commit, which is this process's.
    pub(super) newest: u64,
    /// The commits of the anchors in both meta pages, and which of them is the older one.
    pub(super) anchors: [u64; 2],
    pub(super) older: usize,
}

impl Anchored {
    /// The last commit that was flushed.
    pub(super) fn flushed(&self) -> u64 {
        self.anchors[1 - self.older]
    }
}

/// What the bounds limit.
#[derive(Debug)]
pub(super) struct Unflushed {
    /// Deferred commits that are not flushed.
    pub(super) count: u64,
    /// When the first of them was made, and the last of all.
    pub(super) first: Instant,
    pub(super) last: Instant,
    /// Whether the thread will flush them in time.
    pub(super) watched: bool,
}

impl Default for Unflushed {
    fn default() -> Unflushed {
        let now = Instant::now();
        Unflushed {
            count: 0,
            first: now,
            last: now,
            watched: false,
        }
    }
}

/// What the process's writer knows of deferred commits.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    pub(super) state: Deferral,
    pub(super) unflushed: Unflushed,
}
