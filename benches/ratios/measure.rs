//! Measures two subjects in turn, so that other load on the machine meets both.

use crate::subjects::Run;
use std::time::Duration;

/// How long each turn of the two took, for one operation, shortest first.
pub struct Turns {
    ours: Vec<Duration>,
    peer: Vec<Duration>,
}

/// One figure of each, and their ratio.
#[derive(Clone, Copy)]
pub struct Comparison {
    pub ours: Duration,
    pub peer: Duration,
}

impl Comparison {
    pub fn ratio(&self) -> f64 {
        self.ours.as_secs_f64() / self.peer.as_secs_f64()
    }

    /// The comparison of one of `parts` equal parts of the operation.
    pub fn each_of(self, parts: u64) -> Comparison {
        Comparison {
            ours: self.ours.div_f64(parts as f64),
            peer: self.peer.div_f64(parts as f64),
        }
    }
}

/// Runs both `turns` times in turn, each time for `batch` operations.
pub fn in_turn(ours: &mut Run, peer: &mut Run, batch: u64, turns: usize) -> Turns {
    let mut times = Turns {
        ours: Vec::new(),
        peer: Vec::new(),
    };
    ours(batch);
    peer(batch);
    for turn in 0..turns {
        // The order alternates, so that both find the caches as the other left them.
        if turn % 2 == 0 {
            times.ours.push(ours(batch));
            times.peer.push(peer(batch));
        } else {
            times.peer.push(peer(batch));
            times.ours.push(ours(batch));
        }
    }
    for all in [&mut times.ours, &mut times.peer] {
        all.iter_mut()
            .for_each(|time| *time = time.div_f64(batch as f64));
        all.sort();
    }
    times
}

impl Turns {
    fn ranked(&self, rank: impl Fn(usize) -> usize) -> Comparison {
        Comparison {
            ours: self.ours[rank(self.ours.len())],
            peer: self.peer[rank(self.peer.len())],
        }
    }

    /// The medians, for operations that wait for a disk.
    pub fn medians(&self) -> Comparison {
        self.ranked(|len| len / 2)
    }

    /// The first deciles, for processor time: other load takes caches and shares of the core away,
    /// so it can only make a turn longer.
    pub fn quiet(&self) -> Comparison {
        self.ranked(|len| len / 10)
    }
}

/// How many operations take about as long as `long`.
pub fn batch_of(run: &mut Run, long: Duration) -> u64 {
    let mut batch = 1;
    while run(batch) < long {
        batch *= 2;
    }
    batch
}
