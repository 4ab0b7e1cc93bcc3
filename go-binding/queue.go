//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"runtime"
	"sync"
	"time"
	"weak"
)

// How much one call of the library takes along, as the library takes into one commit.
const (
	mostWrites = 256
	mostBytes  = 1 << 20
)

// write is one write on its way to the library, and how it ended.
type write struct {
	kind       ChangeKind
	info       DeviceInfo
	generation uint64

	status C.int32_t
	detail C.uintptr_t
	locked bool // its device was not unlocked in time
	late   bool // it was not its turn in time

	next  *write
	since time.Time
	told  chan news
}

// news is what somebody who waits is told.
type news int

const (
	done    news = iota // another has done it
	leads               // to do it, and what else is waiting
	expired             // it has waited for too long and been withdrawn
)

// writes keeps writes for their channels.
var writes = sync.Pool{New: func() any { return &write{told: make(chan news, 1)} }}

func newWrite(kind ChangeKind, info DeviceInfo) *write {
	w := writes.Get().(*write)
	w.kind, w.info = kind, info
	return w
}

// free ends the use of w.
func (w *write) free() {
	*w = write{told: w.told}
	writes.Put(w)
}

func (w *write) bytes() int {
	return len(w.info.Name) + len(w.info.ParentName) + len(w.info.Error)
}

// writeQueue lets one goroutine at a time call the library to write, for all whose writes have come meanwhile. The
// library has such a queue itself, for threads. But a goroutine that waits inside C keeps a thread, and one of the
// scheduler's processors until that takes notice; here it waits as goroutines do.
type writeQueue struct {
	wait time.Duration // the longest that a write waits in line

	mu      sync.Mutex
	led     bool
	line    writeLine
	taken   int           // how many were taken out of the line for the call that is under way
	last    int           // how many writes, besides the leader's, the last call was for
	took    time.Duration // how long that call took, if it was for several
	alarm   *time.Timer   // withdraws who has waited for too long
	alarmed bool          // it is set

	list changeList // the leader's
}

// writeLine is a list of writes, oldest first.
type writeLine struct {
	first, end *write
	count      int
}

func (l *writeLine) push(w *write) {
	if l.first == nil {
		l.first = w
	} else {
		l.end.next = w
	}
	l.end = w
	l.count++
}

func (l *writeLine) pop() *write {
	w := l.first
	l.first, w.next = w.next, nil
	l.count--
	return w
}

// waiting returns how many goroutines wait for another to write for them.
func (q *writeQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.line.count + q.taken
}

// do has w written, by this goroutine or another, and returns when that is on disk or has failed.
func (q *writeQueue) do(store C.uintptr_t, w *write) {
	q.mu.Lock()
	if q.led {
		q.enter(w)
		q.mu.Unlock()
		switch <-w.told {
		case done:
			return
		case expired:
			w.status, w.late = C.PM_ERR_TIMEOUT, true
			return
		}
		q.mu.Lock()
	}
	q.led = true
	followers := q.take(w.bytes())
	q.mu.Unlock()
	if followers.count == 0 {
		w.alone(store)
	} else {
		began := time.Now()
		q.together(store, w, followers)
		q.took = time.Since(began)
	}
	q.pass(followers.count)
	for followers.count > 0 {
		followers.pop().told <- done
	}
}

// enter puts w in line.
func (q *writeQueue) enter(w *write) {
	w.since = time.Now()
	q.line.push(w)
	if q.alarmed {
		return
	}
	q.alarmed = true
	if q.alarm == nil {
		q.alarm = time.AfterFunc(q.wait, expireLater(q))
	} else {
		q.alarm.Reset(q.wait)
	}
}

// expireLater returns q.expire, and does not keep the store in being: who waits does.
func expireLater(q *writeQueue) func() {
	queue := weak.Make(q)
	return func() {
		if q := queue.Value(); q != nil {
			q.expire()
		}
	}
}

// expire withdraws those who have waited for too long. Without it they would wait for as long as a leader's disk does.
func (q *writeQueue) expire() {
	var late writeLine
	q.mu.Lock()
	for q.line.count > 0 && time.Since(q.line.first.since) >= q.wait {
		late.push(q.line.pop())
	}
	q.alarmed = q.line.count > 0
	if q.alarmed {
		q.alarm.Reset(q.wait - time.Since(q.line.first.since))
	}
	q.mu.Unlock()
	for late.count > 0 {
		late.pop().told <- expired
	}
}

// take takes those who wait out of the line, as many as one call takes along. If the last call was for several, it
// first lets them come back.
func (q *writeQueue) take(bytes int) writeLine {
	if q.line.count < q.last {
		q.gather()
	}
	var taken writeLine
	for q.line.count > 0 && taken.count < mostWrites-1 {
		if bytes += q.line.first.bytes(); bytes > mostBytes {
			break
		}
		taken.push(q.line.pop())
	}
	q.taken = taken.count
	return taken
}

// gather lets other goroutines run until as many wait as the last call was for, or nobody has come for a while, which
// is short against what a call takes. Where processors are busy, each who comes may have had to wait for one: then it
// ends sooner.
func (q *writeQueue) gather() {
	longest := min(q.took, time.Millisecond)
	silence := min(q.took/8, 100*time.Microsecond)
	began := time.Now()
	came := began
	for seen := q.line.count; seen < q.last; {
		q.mu.Unlock()
		runtime.Gosched()
		q.mu.Lock()
		now := time.Now()
		if q.line.count > seen {
			seen, came = q.line.count, now
		}
		if now.Sub(came) >= silence || now.Sub(began) >= longest {
			return
		}
	}
}

// pass hands the lead to the next in line.
func (q *writeQueue) pass(followers int) {
	q.mu.Lock()
	q.last, q.taken = followers, 0
	q.led = q.line.count > 0
	var next *write
	if q.led {
		next = q.line.pop()
	}
	q.mu.Unlock()
	if next != nil {
		next.told <- leads
	}
}

// together makes one call for all.
func (q *writeQueue) together(store C.uintptr_t, own *write, followers writeLine) {
	own.next = followers.first
	for w := own; w != nil; w = w.next {
		q.list.add(w.kind, &w.info, w.generation)
	}
	q.list.applyEach(store)
	w := own
	for i := range q.list.changes {
		from := &q.list.changes[i]
		w.status, w.detail, w.info.DeviceID = from.status, from.detail, uint32(from.device_id)
		w = w.next
	}
	own.next = nil
	q.list.reset()
}

// alone makes a call for w.
func (w *write) alone(store C.uintptr_t) {
	var reply C.pmgo_reply
	info := &w.info
	switch w.kind {
	case ChangeAdd:
		w.status = C.pmgo_add(store, text(info.Name), size(info.Name), text(info.ParentName), size(info.ParentName),
			text(info.Error), size(info.Error), C.uint64_t(info.Size), C.int32_t(info.State), &reply)
		info.DeviceID = uint32(reply.device_id)
	case ChangeUpdate:
		w.status = C.pmgo_update(store, C.uint32_t(info.DeviceID), C.uint64_t(w.generation), text(info.Name),
			size(info.Name), text(info.ParentName), size(info.ParentName), text(info.Error), size(info.Error),
			C.uint64_t(info.Size), C.int32_t(info.State), &reply)
	case ChangeState:
		w.status = C.pmgo_change_state(store, text(info.Name), size(info.Name), C.int32_t(info.State), &reply)
	case ChangeMarkFaulty:
		w.status = C.pmgo_mark_faulty(store, text(info.Name), size(info.Name), &reply)
	case ChangeRemove:
		w.status = C.pmgo_remove(store, text(info.Name), size(info.Name), &reply)
	}
	w.detail = reply.detail
}
