package poolmetadata

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// fifoLock is the least that a lock on top of a fifo needs. Waiters are known by a number.
type fifoLock struct {
	queue fifo[int]
	held  bool
}

func (l *fifoLock) lock(w *waiter[int], budget *waitBudget) waitResult {
	l.queue.mu.Lock()
	if l.held {
		return l.queue.wait(w, budget)
	}
	l.held = true
	l.queue.mu.Unlock()
	return granted
}

func (l *fifoLock) unlock() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	if l.held = l.queue.count > 0; l.held {
		l.queue.pop().result <- granted
	}
}

// checkEmpty checks that no waiter has left anything behind.
func (l *fifoLock) checkEmpty(t *testing.T) {
	t.Helper()
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	if l.held || l.queue.count != 0 || l.queue.first != nil || l.queue.last != nil {
		t.Errorf("held: %v; %d wait", l.held, l.queue.count)
	}
}

// patient returns a budget that is never spent.
func patient() *waitBudget { return &waitBudget{patience} }

func numbered(number int) *waiter[int] {
	w := newWaiter[int]()
	w.value = number
	return w
}

func TestFifoGrantsInArrivalOrder(t *testing.T) {
	var (
		lock  fifoLock
		all   sync.WaitGroup
		order []int // guarded by the lock
	)
	lock.lock(numbered(-1), patient())
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			if lock.lock(numbered(i), patient()) == granted {
				order = append(order, i)
				lock.unlock()
			}
		}()
		eventually(t, func() bool { return lock.queue.waiting() == i+1 })
	}
	lock.unlock()
	within(t, all.Wait)
	if len(order) != 20 || !slices.IsSorted(order) {
		t.Errorf("the order is %v", order)
	}
	lock.checkEmpty(t)
}

func TestFifoWaitTimesOutOnceBudgetIsSpent(t *testing.T) {
	const wait = 50 * time.Millisecond
	var lock fifoLock
	lock.lock(numbered(0), patient())
	w, budget := numbered(1), &waitBudget{wait}
	start := time.Now()
	result := lock.lock(w, budget)
	if took := time.Since(start); result != timedOut || took < wait {
		t.Errorf("result %v after %v", result, took)
	}
	if budget.left > 0 || lock.queue.waiting() != 0 {
		t.Errorf("%v is left of the budget; %d wait", budget.left, lock.queue.waiting())
	}
	// A spent budget ends the next wait at once, and the waiter can be used again.
	within(t, func() {
		if result := lock.lock(w, budget); result != timedOut {
			t.Errorf("result %v without a budget", result)
		}
	})
	lock.unlock()
	if result := lock.lock(w, budget); result != granted {
		t.Errorf("result %v for a free lock", result)
	}
	lock.unlock()
	lock.checkEmpty(t)
}

// Two waits of one call take no longer than one. A wait with a budget of its own each needs at
// least half as much again, so one attempt that the machine has not delayed is enough.
func TestFifoWaitsOfOneCallShareBudget(t *testing.T) {
	const wait, attempts = 400 * time.Millisecond, 20
	for range attempts {
		var first, second fifoLock
		first.lock(numbered(0), patient())
		second.lock(numbered(0), patient())
		start := time.Now()
		time.AfterFunc(wait/2, first.unlock)
		w, budget := numbered(1), &waitBudget{wait}
		got := first.lock(w, budget)
		result := second.lock(w, budget)
		took := time.Since(start)
		if result != timedOut || took < wait {
			t.Fatalf("results %v and %v after %v", got, result, took)
		}
		if got == granted && took < wait*3/2 {
			return
		}
	}
	t.Error("the second wait never ended in time")
}

func TestFifoTimeoutKeepsOrderOfOthers(t *testing.T) {
	for impatient := range 3 {
		var (
			lock  fifoLock
			all   sync.WaitGroup
			order []int // guarded by the lock
		)
		lock.lock(numbered(-1), patient())
		gone := make(chan waitResult, 1)
		for i := range 3 {
			// Its budget is spent long before the lock is handed over.
			budget := patient()
			if i == impatient {
				budget = &waitBudget{200 * time.Millisecond}
			}
			all.Add(1)
			before := lock.queue.waiting()
			go func() {
				defer all.Done()
				result := lock.lock(numbered(i), budget)
				if i == impatient {
					gone <- result
				} else {
					order = append(order, i)
					lock.unlock()
				}
			}()
			eventually(t, func() bool { return lock.queue.waiting() == before+1 || len(gone) > 0 })
		}
		if result := <-gone; result != timedOut {
			t.Errorf("waiter %d: result %v", impatient, result)
		}
		lock.unlock()
		within(t, all.Wait)
		if want := slices.Delete([]int{0, 1, 2}, impatient, impatient+1); !slices.Equal(order, want) {
			t.Errorf("the order without waiter %d is %v", impatient, order)
		}
		lock.checkEmpty(t)
	}
}

func TestFifoHolderServesWaiters(t *testing.T) {
	var (
		lock fifoLock
		all  sync.WaitGroup
	)
	lock.lock(numbered(-1), patient())
	for i := range 3 {
		all.Add(1)
		go func() {
			defer all.Done()
			if result := lock.lock(numbered(i), patient()); result != served {
				t.Errorf("waiter %d: result %v", i, result)
			}
		}()
		eventually(t, func() bool { return lock.queue.waiting() == i+1 })
	}
	lock.queue.mu.Lock()
	for want := range 3 {
		w := lock.queue.pop()
		if w.value != want {
			t.Errorf("waiter %d came as number %d", w.value, want)
		}
		w.result <- served
	}
	lock.queue.mu.Unlock()
	within(t, all.Wait)
	lock.unlock()
	lock.checkEmpty(t)
}

// Whether a waiter times out or gets the lock is decided once, even at the same moment.
func TestFifoTimeoutsAndGrantsThatCoincide(t *testing.T) {
	var (
		lock   fifoLock
		all    sync.WaitGroup
		inside int // the race detector notices too if the lock does not hold
	)
	for i := range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			w := numbered(i)
			for range 100 {
				if lock.lock(w, &waitBudget{time.Millisecond}) == granted {
					inside++
					time.Sleep(time.Millisecond / 8)
					lock.unlock()
				}
			}
		}()
	}
	within(t, all.Wait)
	if inside == 0 {
		t.Error("nobody got the lock")
	}
	lock.checkEmpty(t)
}
