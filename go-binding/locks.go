//go:build linux && cgo

package poolmetadata

import (
	"slices"
	"sync"
	"time"
)

// deviceLocks lets one goroutine at a time change a device, first come, first served: an update holds its device while
// its callback runs.
type deviceLocks struct {
	wait time.Duration // the longest that a goroutine waits for a device

	mu sync.Mutex
	// held has the devices that are locked, each with those who wait for it.
	held map[string][]chan struct{}
	// count is how many wait.
	count int
}

// lock reports whether the device could be locked in time.
func (l *deviceLocks) lock(name string) bool {
	return l.lockWithin(name, l.wait)
}

// tryLock locks the device if it is not locked.
func (l *deviceLocks) tryLock(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hold(name)
}

// hold is tryLock for who holds mu.
func (l *deviceLocks) hold(name string) bool {
	if _, locked := l.held[name]; locked {
		return false
	}
	if l.held == nil {
		l.held = make(map[string][]chan struct{})
	}
	l.held[name] = nil
	return true
}

// lockWithin is lock for who can wait that long.
func (l *deviceLocks) lockWithin(name string, wait time.Duration) bool {
	l.mu.Lock()
	if l.hold(name) {
		l.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	l.held[name] = append(l.held[name], mine)
	l.count++
	l.mu.Unlock()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-mine:
		return true
	case <-timeout.C:
		return !l.leave(name, mine)
	}
}

// leave takes a goroutine out of the line; it reports false if it has been given the lock at this very moment.
func (l *deviceLocks) leave(name string, mine chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.held[name]
	at := slices.Index(line, mine)
	if at < 0 {
		return false
	}
	l.held[name] = slices.Delete(line, at, at+1)
	l.count--
	return true
}

// unlock gives the lock to the next in line.
func (l *deviceLocks) unlock(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.held[name]
	if len(line) == 0 {
		delete(l.held, name)
		return
	}
	close(line[0])
	l.held[name] = slices.Delete(line, 0, 1)
	l.count--
}

// lockAll locks several devices, in the order of their names, so that two who want the same do not wait for each other.
// It waits for all of them together no longer than for one, and returns the name of the one that could not be locked in
// time; then none is locked.
func (l *deviceLocks) lockAll(names []string) (unlock func(), late string) {
	slices.Sort(names)
	names = slices.Compact(names)
	unlockFirst := func(n int) {
		for _, name := range names[:n] {
			l.unlock(name)
		}
	}
	end := time.Now().Add(l.wait)
	for i, name := range names {
		if !l.lockWithin(name, time.Until(end)) {
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
	return l.count
}
