//! Whose turn it is to write next, among processes.
//!
//! A busy process could keep the writer lock for itself. So a process that has to wait for it takes
//! the turn, a lock on bytes of the file, and a process that is about to write leaves the writer
//! lock to the holder of the turn. Only that holder polls the writer lock, at short pauses, so that
//! the lock is not idle for long between two processes; the others poll the turn, at long ones.
//!
//! The holder may have been stopped, or be a forked child that has inherited the lock. A live one
//! renews the turn all the time: the length of its lock is the moment of the last renewal. Where
//! the length stays the same for [`PATIENCE`], others pass this turn over, from then on without
//! waiting for it, until it is renewed after all. They take the turn in another lane meanwhile.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::time::{clock_gettime, ClockId};

use crate::file::descriptor_locks::DescriptorLocks;

/// How long a turn may go without being renewed before others pass it over.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);
/// How often the holder of a turn renews it.
const RENEWAL: Duration = Duration::from_millis(10);

/// The pause of the process that has the turn: a small part of the time that it has waited, within
/// these bounds. So it is late by little, and a long wait takes little of a processor.
const SHORTEST_PAUSE: Duration = Duration::from_micros(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
const PART: u32 = 32;

/// How many turns there can be: all but the last are held by processes that do not run.
const LANES: usize = 4;
/// Where the first lane begins, beyond all other locks.
const FIRST: i64 = (1 << 62) + 1;
/// The length of a lane: enough for the nanoseconds of 18 years.
const LANE: i64 = 1 << 59;

/// When each lane's turn, which is passed over, was last renewed; 0 for none.
#[derive(Default)]
pub(crate) struct PassedOver([AtomicU64; LANES]);

/// One thread's wait for the writer lock.
pub(crate) struct Contest<'l> {
    locks: &'l DescriptorLocks,
    passed_over: &'l PassedOver,
    since: Instant,
    patience: Duration,
    /// What was last seen of the others' turns.
    seen: [Option<Seen>; LANES],
    turn: Option<Turn<'l>>,
}

/// Another process's turn.
#[derive(Clone, Copy)]
struct Seen {
    renewed: u64,
    /// When it was first seen to be renewed at that moment.
    since: Instant,
}

/// The turn of this process, released when dropped.
struct Turn<'l> {
    locks: &'l DescriptorLocks,
    lane: usize,
    since: Instant,
    renewed: Instant,
}

/// What a process that has no turn finds.
enum Found {
    /// The process of another turn goes first.
    Others,
    /// Nobody goes first. The turn of this lane can be taken, unless all are taken.
    Nobody(Option<usize>),
}

impl<'l> Contest<'l> {
    pub fn new(
        locks: &'l DescriptorLocks,
        passed_over: &'l PassedOver,
        patience: Duration,
    ) -> Contest<'l> {
        Contest {
            locks,
            passed_over,
            since: Instant::now(),
            patience,
            seen: [None; LANES],
            turn: None,
        }
    }

    /// Takes the writer lock, or says how long to sleep before the next attempt.
    pub fn attempt(&mut self) -> io::Result<ControlFlow<(), Duration>> {
        if let Some(turn) = &mut self.turn {
            if self.locks.try_flock()? {
                return Ok(ControlFlow::Break(()));
            }
            return turn.renew().map(ControlFlow::Continue);
        }
        let Found::Nobody(lane) = self.survey()? else {
            return Ok(ControlFlow::Continue(self.long_pause()));
        };
        if self.locks.try_flock()? {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(lane) = lane {
            self.turn = Turn::take(self.locks, lane)?;
        }
        Ok(ControlFlow::Continue(match self.turn {
            Some(_) => SHORTEST_PAUSE,
            None => self.long_pause(),
        }))
    }

    /// Shows that this process runs, and takes nothing.
    #[cfg(test)]
    pub fn renew(&mut self) {
        let turn = self.turn.as_mut().unwrap();
        assert!(turn.renew().is_ok());
    }

    /// The pause of a process that has not got the turn. If nobody has it meanwhile, the process
    /// that writes goes on writing.
    fn long_pause(&self) -> Duration {
        (self.since.elapsed() / 4).clamp(Duration::from_micros(50), LONGEST_PAUSE)
    }

    /// Looks at all turns.
    fn survey(&mut self) -> io::Result<Found> {
        let all = LANE * LANES as i64;
        if self.locks.found_elsewhere(FIRST, all)?.is_none() {
            return Ok(Found::Nobody(Some(0)));
        }
        let mut free = None;
        for lane in 0..LANES {
            match self.locks.found_elsewhere(start(lane), 1)? {
                None => free = free.or(Some(lane)),
                Some(turn) if self.is_passed_over(lane, turn.len as u64) => {}
                Some(_) => return Ok(Found::Others),
            }
        }
        Ok(Found::Nobody(free))
    }

    /// Whether nobody waits for that lane's turn, which was last renewed at that moment.
    fn is_passed_over(&mut self, lane: usize, renewed: u64) -> bool {
        let passed_over = &self.passed_over.0[lane];
        if passed_over.load(Ordering::Relaxed) == renewed {
            return true;
        }
        match &self.seen[lane] {
            Some(seen) if seen.renewed == renewed => {
                let late = seen.since.elapsed() >= self.patience;
                if late {
                    passed_over.store(renewed, Ordering::Relaxed);
                }
                late
            }
            _ => {
                let since = Instant::now();
                self.seen[lane] = Some(Seen { renewed, since });
                false
            }
        }
    }
}

impl<'l> Turn<'l> {
    /// Takes the turn of a lane, unless another process is faster.
    fn take(locks: &'l DescriptorLocks, lane: usize) -> io::Result<Option<Turn<'l>>> {
        let taken = locks.try_set(libc::F_WRLCK, start(lane), moment())?;
        let now = Instant::now();
        Ok(taken.then_some(Turn {
            locks,
            lane,
            since: now,
            renewed: now,
        }))
    }

    /// Shows the others from time to time that this process runs; how long to sleep now.
    fn renew(&mut self) -> io::Result<Duration> {
        let now = Instant::now();
        if now.duration_since(self.renewed) >= RENEWAL {
            // The lock that is there becomes longer.
            self.locks
                .try_set(libc::F_WRLCK, start(self.lane), moment())?;
            self.renewed = now;
        }
        let pause = now.duration_since(self.since) / PART;
        Ok(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a failure; closing the descriptor releases it as well.
        let _ = self.locks.set(libc::F_UNLCK, start(self.lane), LANE);
    }
}

fn start(lane: usize) -> i64 {
    FIRST + LANE * lane as i64
}

/// The present moment as the length of a lock: the same for all processes of the machine, and never
/// zero.
fn moment() -> i64 {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(now) => (now.tv_sec() * 1_000_000_000 + now.tv_nsec()).clamp(1, LANE),
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests;
