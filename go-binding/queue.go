//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The most that one call of the library takes: the most that the library puts into one commit.
const (
	maxBatchWrites = 256
	maxBatchBytes  = 1 << 20
)

// write is a goroutine's write on its way to the library. Its list has one change, which says in
// the end how the write ended.
type write = waiter[changeList]

// writes are used again: a write that has none to wait for allocates nothing.
var writes = sync.Pool{New: func() any { return newWaiter[changeList]() }}

// writeQueue is a group commit: one goroutine at a time, the leader, calls the library, with its
// own write and with those of the goroutines that came meanwhile, its followers.
//
// The library has such a queue itself, for threads. But a goroutine that waits inside C keeps a
// thread, and one of the scheduler's processors until the scheduler takes notice. Here it waits as
// goroutines do.
type writeQueue struct {
	queue     fifo[changeList] // the goroutines that came after the leader
	led       bool             // there is a leader
	followers int              // how many were taken out of the queue for the call under way
	calling   atomic.Int32     // how many writes lead or call the library, lists too

	// The leader's own.
	lastFollowers int           // how many followers the last call had
	lastTook      time.Duration // how long the last call with followers took
	batch         changeList
}

// waiting returns how many goroutines wait for another to write for them.
func (q *writeQueue) waiting() int {
	q.queue.mu.Lock()
	defer q.queue.mu.Unlock()
	return q.queue.count + q.followers
}

// do has w written, by this goroutine or by another, and returns once that is on disk or has
// failed. It reports false if the budget is spent first, unless a write is in the library at that
// moment: then the disk may have stalled, and the wait begins anew. The library's call has an end.
func (q *writeQueue) do(w *write, budget *waitBudget) bool {
	q.queue.mu.Lock()
	if q.led {
		switch q.queue.wait(w, budget) {
		case served:
			return true
		case timedOut:
			return false
		}
		q.queue.mu.Lock()
	}
	if !q.led {
		q.led = true
		q.calling.Add(1)
	}
	followers := q.takeFollowers(len(w.value.texts))
	q.queue.mu.Unlock()
	if followers.count == 0 {
		w.value.applyEach(w.value.store)
	} else {
		began := time.Now()
		q.applyBatch(w, &followers)
		q.lastTook = time.Since(began)
	}
	q.lastFollowers = followers.count
	q.handOver()
	q.calling.Add(-1)
	for followers.count > 0 {
		followers.pop().result <- served
	}
	return true
}

// takeFollowers takes waiting writes out of the queue, as many as one call takes beside the
// leader's bytes. If the last call had followers, it first lets them come back.
func (q *writeQueue) takeFollowers(bytes int) waiterList[changeList] {
	if q.queue.count < q.lastFollowers {
		q.awaitArrivals()
	}
	var taken waiterList[changeList]
	for q.queue.count > 0 && taken.count < maxBatchWrites-1 {
		if bytes += len(q.queue.first.value.texts); bytes > maxBatchBytes {
			break
		}
		taken.push(q.queue.pop())
	}
	q.followers = taken.count
	return taken
}

// awaitArrivals is the group-commit delay: it lets other goroutines run until as many wait as the
// last call had followers, or until arrivals stop for a while that is short beside what a call
// takes. On busy processors each arrival may have had to wait for one: then the delay ends by its
// own limit.
func (q *writeQueue) awaitArrivals() {
	longest := min(q.lastTook, time.Millisecond)
	silence := min(q.lastTook/8, 100*time.Microsecond)
	began := time.Now()
	lastArrival := began
	for seen := q.queue.count; seen < q.lastFollowers; {
		q.queue.mu.Unlock()
		runtime.Gosched()
		q.queue.mu.Lock()
		now := time.Now()
		if q.queue.count > seen {
			seen, lastArrival = q.queue.count, now
		}
		if now.Sub(lastArrival) >= silence || now.Sub(began) >= longest {
			return
		}
	}
}

// handOver makes the first waiter the next leader. It counts as one from here on, before it runs:
// otherwise a wait that ends in between would not begin anew.
func (q *writeQueue) handOver() {
	q.queue.mu.Lock()
	defer q.queue.mu.Unlock()
	q.followers = 0
	q.led = q.queue.count > 0
	if q.led {
		q.calling.Add(1)
		q.queue.pop().result <- granted
	}
}

// applyBatch makes one call of the library for the leader's write and its followers'. What they
// share is flushed unless all of them are deferred.
func (q *writeQueue) applyBatch(own *write, followers *waiterList[changeList]) {
	own.next = followers.first
	store := own.value.store
	for w := own; w != nil; w = w.next {
		q.batch.append(&w.value)
		if !w.value.deferred {
			store = w.value.store
		}
	}
	q.batch.applyEach(store)
	results := q.batch.changes
	for w := own; w != nil; w = w.next {
		w.value.changes[0], results = results[0], results[1:]
	}
	own.next = nil
	q.batch.reset()
}
