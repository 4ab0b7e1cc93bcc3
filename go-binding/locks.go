//go:build linux && cgo

package poolmetadata

import (
	"slices"
	"sync"
)

// deviceLocks has a lock for each device, which goroutines get in FIFO order. An update holds the
// lock of its device while its callback runs.
type deviceLocks struct {
	mu sync.Mutex
	// held has an entry for each locked device: its queue, or nil as long as nobody has waited.
	held map[string]*fifo[struct{}]
}

// lock locks a device. It reports false if the budget is spent first.
func (l *deviceLocks) lock(name string, budget *waitBudget) bool {
	l.mu.Lock()
	if l.acquire(name) {
		l.mu.Unlock()
		return true
	}
	queue := l.held[name]
	if queue == nil {
		queue = new(fifo[struct{}])
		l.held[name] = queue
	}
	return queue.wait(&l.mu, newWaiter[struct{}](), budget) == granted
}

// tryLock locks the device if it is not locked.
func (l *deviceLocks) tryLock(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acquire(name)
}

// acquire does the work of tryLock. The caller holds mu.
func (l *deviceLocks) acquire(name string) bool {
	if _, locked := l.held[name]; locked {
		return false
	}
	if l.held == nil {
		l.held = make(map[string]*fifo[struct{}])
	}
	l.held[name] = nil
	return true
}

// unlock hands the lock to the first waiter.
func (l *deviceLocks) unlock(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if queue := l.held[name]; queue != nil && queue.count > 0 {
		queue.pop().result <- granted
		return
	}
	delete(l.held, name)
}

// lockAll locks several devices, in the order of their names, so that two calls that want the same
// devices do not deadlock. If the budget is spent first, it returns a nil function and the name of
// the device that it could not lock, and no device is locked.
func (l *deviceLocks) lockAll(names []string, budget *waitBudget) (unlock func(), locked string) {
	slices.Sort(names)
	names = slices.Compact(names)
	unlockFirst := func(n int) {
		for _, name := range names[:n] {
			l.unlock(name)
		}
	}
	for i, name := range names {
		if !l.lock(name, budget) {
			unlockFirst(i)
			return nil, name
		}
	}
	return func() { unlockFirst(len(names)) }, ""
}

// waiting returns how many goroutines wait for a device.
func (l *deviceLocks) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := 0
	for _, queue := range l.held {
		if queue != nil {
			waiting += queue.count
		}
	}
	return waiting
}
