//go:build linux && cgo

package poolmetadata

import "slices"

// deviceLocks has a lock for each device, which goroutines get in FIFO order. An update holds the
// lock of its device while its callback runs.
type deviceLocks struct {
	queue fifo[string]    // the goroutines that wait for a device, by its name
	held  map[string]bool // whether an update has the device open, until its callback returns
}

// lock locks a device. It reports false if the budget is spent first.
func (l *deviceLocks) lock(name string, budget *waitBudget) bool {
	l.queue.mu.Lock()
	if l.acquire(name) {
		l.queue.mu.Unlock()
		return true
	}
	w := newWaiter[string]()
	w.value = name
	return l.queue.wait(w, budget) == granted
}

// tryLock locks the device if it is not locked.
func (l *deviceLocks) tryLock(name string) bool {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	return l.acquire(name)
}

// acquire does the work of tryLock. The caller holds the mutex.
func (l *deviceLocks) acquire(name string) bool {
	if _, locked := l.held[name]; locked {
		return false
	}
	if l.held == nil {
		l.held = make(map[string]bool)
	}
	l.held[name] = false
	return true
}

// unlock hands the lock to the first goroutine that waits for this device.
func (l *deviceLocks) unlock(name string) {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	before, next := l.queue.find(func(w *waiter[string]) bool { return w.value == name })
	if next == nil {
		delete(l.held, name)
		return
	}
	l.held[name] = false
	l.queue.remove(before, next).result <- granted
}

// setOpen says whether an update has the device open from here on, or a write has it.
func (l *deviceLocks) setOpen(name string, open bool) {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	l.held[name] = open
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
