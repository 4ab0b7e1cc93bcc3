//! Two subjects in turn, so that whatever else the machine does meets both.

use crate::subjects::Run;
use std::time::Duration;

/// Medians of both, for one operation, and how they compare.
#[derive(Clone, Copy)]
pub struct Comparison {
    pub ours: Duration,
    pub peer: Duration,
}

impl Comparison {
    pub fn ratio(&self) -> f64 {
        self.ours.as_secs_f64() / self.peer.as_secs_f64()
    }
}

/// Runs both `pairs` times in turn, each time for `batch` operations.
pub fn compare(ours: &mut Run, peer: &mut Run, batch: u64, pairs: usize) -> Comparison {
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    ours(batch);
    peer(batch);
    for pair in 0..pairs {
        // Who goes first changes, so that neither always finds the other's leavings in the caches.
        if pair % 2 == 0 {
            our_times.push(ours(batch));
            peer_times.push(peer(batch));
        } else {
            peer_times.push(peer(batch));
            our_times.push(ours(batch));
        }
    }
    let each = |times| median(times).div_f64(batch as f64);
    Comparison {
        ours: each(our_times),
        peer: each(peer_times),
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

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
