//go:build linux && cgo

package poolmetadata

import (
	"sync"
	"time"
)

// waitBudget is how long one call may still wait for other goroutines. Every wait of the call is
// taken from it by fifo.wait and nowhere else, so that a call that waits for its device and then for
// its turn to write takes no longer than the lock wait.
type waitBudget struct{ left time.Duration }

// fifo is the queue of a lock: the goroutines that wait for it, in the order in which they came. The
// lock's owner has a mutex that guards the queue. T is what the holder of the lock needs to know to
// serve a waiter instead of handing the lock over.
type fifo[T any] struct {
	first, last *waiter[T]
	count       int
}

// waiter is a goroutine that waits. It can be used again once the wait has ended.
type waiter[T any] struct {
	value  T
	next   *waiter[T]
	result chan waitResult
	timer  *time.Timer
}

// waitResult is how a wait ended.
type waitResult int

const (
	granted  waitResult = iota // the waiter holds the lock
	served                     // the holder has done for the waiter what it wanted the lock for
	timedOut                   // the budget is spent, and the waiter has left the queue
)

func newWaiter[T any]() *waiter[T] {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &waiter[T]{result: make(chan waitResult, 1), timer: timer}
}

func (f *fifo[T]) push(w *waiter[T]) {
	if f.first == nil {
		f.first = w
	} else {
		f.last.next = w
	}
	f.last = w
	f.count++
}

// pop takes the first waiter out of the queue. The caller sends its result.
func (f *fifo[T]) pop() *waiter[T] {
	w := f.first
	f.first, w.next = w.next, nil
	f.count--
	return w
}

// remove takes w out of the queue, wherever it is, and reports whether it was there.
func (f *fifo[T]) remove(w *waiter[T]) bool {
	var before *waiter[T]
	for at := f.first; at != nil; before, at = at, at.next {
		if at != w {
			continue
		}
		if before == nil {
			f.first = w.next
		} else {
			before.next = w.next
		}
		if f.last == w {
			f.last = before
		}
		w.next = nil
		f.count--
		return true
	}
	return false
}

// wait puts w at the end of the queue and blocks until it gets a result or the budget is spent. The
// caller holds mu, which guards the queue; wait releases it.
func (f *fifo[T]) wait(mu *sync.Mutex, w *waiter[T], budget *waitBudget) waitResult {
	f.push(w)
	mu.Unlock()
	start := time.Now()
	defer func() { budget.left -= time.Since(start) }()
	w.timer.Reset(budget.left)
	defer w.timer.Stop()
	select {
	case result := <-w.result:
		return result
	case <-w.timer.C:
	}
	mu.Lock()
	removed := f.remove(w)
	mu.Unlock()
	if removed {
		return timedOut
	}
	// The waiter was taken out of the queue at this very moment: its result is on the way.
	return <-w.result
}
