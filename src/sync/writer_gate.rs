//! One writer at a time in this process.

use std::cell::{Ref, RefCell};

use crate::error::Result;
use crate::sync::deadline::Deadline;
use crate::sync::fifo::{self, Line};
use crate::sync::primitives::{lock, Mutex};

/// Lets one writer of this process through at a time, and hands each what the one before it left
/// for it.
///
/// In line are the leader of the commit queue and the threads that close or flush the store or
/// replace its map.
#[derive(Default)]
pub(crate) struct WriterGate<T> {
    state: Mutex<State<T>>,
}

#[derive(Default)]
struct State<T> {
    line: Line,
    /// What the last writer left, while there is none.
    handed_over: T,
}

/// This thread is the process's writer until this is dropped.
pub(crate) struct Writer<'a, T: Default> {
    gate: &'a WriterGate<T>,
    handed_over: RefCell<T>,
}

impl<T: Default> WriterGate<T> {
    /// How many threads wait to be the writer.
    pub fn waiting(&self) -> usize {
        lock(&self.state).line.waiting()
    }

    pub fn acquire(&self, deadline: &Deadline) -> Result<Writer<'_, T>> {
        self.acquire_patiently(deadline, || false)
    }

    /// Waits as [`acquire`](WriterGate::acquire) does, but the wait begins anew where `patient`
    /// says so at its end.
    pub fn acquire_patiently(
        &self,
        deadline: &Deadline,
        patient: impl Fn() -> bool,
    ) -> Result<Writer<'_, T>> {
        let locked = fifo::acquire_patiently(
            &self.state,
            deadline,
            |state| &mut state.line,
            |_| patient(),
        );
        let mut state = locked.ok_or_else(|| deadline.expired("another writer in this process"))?;
        Ok(Writer {
            gate: self,
            handed_over: RefCell::new(std::mem::take(&mut state.handed_over)),
        })
    }
}

impl<T: Default> Writer<'_, T> {
    /// What the last writer handed over, or this one since.
    pub fn handed_over(&self) -> Ref<'_, T> {
        self.handed_over.borrow()
    }

    /// Changes what the next writer finds.
    pub fn hand_over<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.handed_over.borrow_mut())
    }
}

impl<T: Default> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        fifo::release(&self.gate.state, |state| {
            state.handed_over = self.handed_over.take();
            state.line.hand_off()
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn writer_gets_what_the_last_writer_left() {
        let gate = WriterGate::default();
        let now = || Deadline::after(Duration::ZERO);
        let held = gate.acquire(&now()).unwrap();
        held.hand_over(|left| *left = 7);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let got = gate.acquire(&Deadline::after(Duration::from_secs(60)));
                got.is_ok_and(|writer| *writer.handed_over() == 7)
            });
            while gate.waiting() == 0 {
                std::thread::yield_now();
            }
            drop(held);
            assert!(waits.join().unwrap());
        });
        assert!(gate
            .acquire(&now())
            .is_ok_and(|writer| *writer.handed_over() == 7));
    }
}
