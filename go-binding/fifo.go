//go:build linux && cgo

package poolmetadata

import (
	"sync"
	"time"
	"weak"
)

// waitBudget is how long one call may still wait for other goroutines. fifo.wait takes every wait
// of the call from it, so that a call that waits for its device and then for its turn to write
// takes no longer than the lock wait. (ApplyEach gives all of it up once the library itself has
// timed out.)
type waitBudget struct{ left time.Duration }

// fifo is the queue of a lock: the goroutines that wait for it, in the order in which they came. T
// is what each of them waits for, or what the holder has to know to serve it without handing the
// lock over.
//
// One timer serves all waiters: a timer for each would cost a write that shares its commit with
// others a sixth of its instructions.
type fifo[T any] struct {
	mu sync.Mutex // guards the queue, and the state of the lock that it belongs to
	waiterList[T]
	timer   *time.Timer
	timerAt time.Time // when the timer fires; zero if it is not set

	// patient, if not nil, is asked with mu held about a waiter whose deadline has passed: whether
	// its wait begins anew.
	patient func(value T) bool
}

// waiterList is a list of waiters, oldest first.
type waiterList[T any] struct {
	first, last *waiter[T]
	count       int
}

// waiter is a goroutine that waits. It can be used again once the wait has ended.
type waiter[T any] struct {
	value    T
	next     *waiter[T]
	length   time.Duration // how long it waits, from the beginning or when that begins anew
	deadline time.Time
	result   chan waitResult
}

// waitResult is how a wait ended.
type waitResult int

const (
	granted  waitResult = iota // the waiter holds the lock
	served                     // the holder has done for the waiter what it wanted the lock for
	timedOut                   // the budget is spent, and the waiter has left the queue
)

func newWaiter[T any]() *waiter[T] {
	return &waiter[T]{result: make(chan waitResult, 1)}
}

// wait puts w at the end of the queue and blocks until it gets a result or the budget is spent. The
// caller holds mu; wait releases it.
func (f *fifo[T]) wait(w *waiter[T], budget *waitBudget) waitResult {
	w.length = budget.left
	w.deadline = time.Now().Add(w.length)
	f.push(w)
	f.setTimer(w.deadline)
	f.mu.Unlock()
	result := <-w.result
	budget.left = time.Until(w.deadline)
	return result
}

// waiting returns how many goroutines are in the queue.
func (f *fifo[T]) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// setTimer makes the timer fire no later than at the deadline. The caller holds mu.
func (f *fifo[T]) setTimer(deadline time.Time) {
	if !f.timerAt.IsZero() && !deadline.Before(f.timerAt) {
		return
	}
	f.timerAt = deadline
	if f.timer == nil {
		f.timer = time.AfterFunc(time.Until(deadline), expireLater(f))
	} else {
		f.timer.Reset(time.Until(deadline))
	}
}

// expireLater returns f.expire, and does not keep the store in memory: goroutines that wait do.
func expireLater[T any](f *fifo[T]) func() {
	queue := weak.Make(f)
	return func() {
		if f := queue.Value(); f != nil {
			f.expire()
		}
	}
}

// shortestRenewal keeps a timer for a short wait that begins anew from firing all the time.
const shortestRenewal = 10 * time.Millisecond

// expire ends the waits whose deadlines have passed.
func (f *fifo[T]) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timerAt = time.Time{}
	now := time.Now()
	late := func(w *waiter[T]) bool { return !now.Before(w.deadline) }
	if f.patient != nil {
		for w := f.first; w != nil; w = w.next {
			if late(w) && f.patient(w.value) {
				w.deadline = now.Add(max(w.length, shortestRenewal))
			}
		}
	}
	for before, w := f.find(late); w != nil; before, w = f.find(late) {
		f.remove(before, w).result <- timedOut
	}
	for w := f.first; w != nil; w = w.next {
		f.setTimer(w.deadline)
	}
}

func (l *waiterList[T]) push(w *waiter[T]) {
	if l.first == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.count++
}

// pop takes the first waiter out of the list.
func (l *waiterList[T]) pop() *waiter[T] {
	return l.remove(nil, l.first)
}

// remove takes w, which comes after before, out of the list.
func (l *waiterList[T]) remove(before, w *waiter[T]) *waiter[T] {
	if before == nil {
		l.first = w.next
	} else {
		before.next = w.next
	}
	if l.last == w {
		l.last = before
	}
	w.next = nil
	l.count--
	return w
}

// find returns the first waiter that fits, and the one before it; nil if none does.
func (l *waiterList[T]) find(fits func(*waiter[T]) bool) (before, w *waiter[T]) {
	for w = l.first; w != nil && !fits(w); w = w.next {
		before = w
	}
	return before, w
}
