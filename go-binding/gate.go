//go:build linux && cgo

package poolmetadata

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// gate lets Close wait for the calls that run the caller's code, which the library does not know
// of, and refuses calls from then on.
type gate struct {
	closed  atomic.Bool
	mu      sync.Mutex
	inside  int
	emptied chan struct{} // closed when the last call leaves a shut gate
}

func (g *gate) isShut() bool {
	return g.closed.Load()
}

// enter reports whether the call may go on. If so, the call must leave in the end.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Load() {
		return false
	}
	g.inside++
	callbacks.Add(1)
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	callbacks.Add(-1)
	if g.inside == 0 && g.emptied != nil {
		close(g.emptied)
		g.emptied = nil
	}
}

// shut refuses further calls, waits until those inside have left, and reports whether they have.
func (g *gate) shut(wait time.Duration) bool {
	g.mu.Lock()
	g.closed.Store(true)
	if g.inside == 0 {
		g.mu.Unlock()
		return true
	}
	if g.emptied == nil {
		g.emptied = make(chan struct{})
	}
	emptied := g.emptied
	g.mu.Unlock()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-emptied:
		return true
	case <-timeout.C:
		return false
	}
}

// callbacks is how many calls are inside the gates of all stores. It is changed under the mutex of
// a gate.
var callbacks atomic.Int64

// isInOwnCallback reports whether this goroutine is certainly inside a callback of this store.
// While callbacks of other stores run as well, that is not known.
func (m *PoolMetadata) isInOwnCallback() bool {
	return isInCallback() && m.calls.hasAllCallbacks()
}

// hasAllCallbacks reports whether there are calls inside, and none inside another store's gate.
func (g *gate) hasAllCallbacks() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside > 0 && callbacks.Load() == int64(g.inside)
}

// isInCallback reports whether this goroutine is inside a callback of a store, of whichever: one of
// the functions that run callbacks is on its stack.
func isInCallback() bool {
	var pcs [64]uintptr
	for skip := 1; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var frame runtime.Frame
			frame, more = frames.Next()
			if runsCallbacks(frame.Function) {
				return true
			}
		}
	}
}

// runsCallbacks reports whether a function, given by its full name, is one that enters a gate and
// then calls a function of the caller's.
func runsCallbacks(function string) bool {
	return strings.HasSuffix(function, "go-binding.(*PoolMetadata).walk") ||
		strings.HasSuffix(function, "go-binding.(*PoolMetadata).UpdateDevice")
}
