//go:build linux && cgo

package poolmetadata

// #include "in_step.h"
import "C"

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// PoolMetadata is an open store. Its methods may be called from any number of goroutines at once;
// reads never wait for writes. Concurrent writes of different devices share one fsync.
//
// The garbage collector closes a store that is no longer reachable, at some time; call Close.
type PoolMetadata struct {
	*sharedStore
	handle   C.uintptr_t
	deferred bool // its writes may be committed without a flush of their own
}

// sharedStore is what both PoolMetadata of a store share.
type sharedStore struct {
	handles  storeHandles
	lockWait time.Duration
	readOnly bool
	path     string
	states   bool        // changes of state are deferred: see WithDeferredStates
	suspect  atomic.Bool // a write has failed in a way that may stop all writes
	forgot   runtime.Cleanup

	locks deviceLocks
	queue writeQueue

	calls   gate
	closing sync.Mutex // guards the rest
	attempt *closeAttempt
	closed  bool
}

// storeHandles are the library's handles of a store.
type storeHandles struct {
	opened, deferred C.uintptr_t
}

// closeAttempt is a Close in progress.
type closeAttempt struct {
	ended  chan struct{} // closed once err is set
	err    error
	inside bool // it is made from inside a callback, which it cannot wait for
}

// NewPoolMetadata opens the store at the given path as [Open] does, and creates it if there is no
// file. If the file is the bbolt file of containerd's own store, a store with the same contents
// replaces it first (see [Migrate]), unless it is to be opened read-only.
//
// Where containerd's store would wait for another process for ever, for one that has the bbolt file
// open, say, NewPoolMetadata waits for five minutes, and logs a warning after ten seconds
// ([log/slog]). [Open] waits for the lock wait only.
func NewPoolMetadata(dbfile string, opts ...Option) (*PoolMetadata, error) {
	return openPatiently(dbfile, newPoolMetadataWait, opts...)
}

// Open opens the store at path. If there is no file, it creates one with mode 0600, such that a
// crash at any moment leaves no store or a whole one. The file must be on a local file system. A
// process can have it open once, and any number of processes may. Beside the store is LMDB's lock
// file, path with "-lock" appended: it must not be deleted while the store is open anywhere.
//
// A file at path that is not a store, or is a damaged one, is left as it is, and the error says
// what it is.
func Open(path string, opts ...Option) (*PoolMetadata, error) {
	const op, doing = "Open", "open the store"
	o := makeOptions(opts)
	native, err := o.native(op, doing)
	if err != nil {
		return nil, err
	}
	if has := C.pm_abi_version(); has != C.PM_ABI_VERSION {
		return nil, newError(CodeInternal, op, doing, fmt.Sprintf(
			"the program was built for version %d of the library's ABI, and the library that was loaded "+
				"has version %d",
			C.PM_ABI_VERSION, has))
	}
	var reply C.pmgo_reply
	status := C.pmgo_open_identity(text(path), size(path), &native, text(o.identity),
		size(o.identity), &reply)
	if status != C.PM_OK {
		return nil, failure(status, reply.detail, op, doing)
	}
	handles := storeHandles{opened: reply.handle}
	if status := C.pmgo_deferred(handles.opened, &reply); status != C.PM_OK {
		err := failure(status, reply.detail, op, doing)
		closeForgotten(handles)
		return nil, err
	}
	handles.deferred = reply.handle
	s := &sharedStore{
		handles:  handles,
		lockWait: o.lockWait,
		readOnly: o.isReadOnly(),
		path:     absolute(path),
		states:   o.deferredStates,
	}
	s.queue.queue.patient = func(changeList) bool { return s.queue.calling.Load() > 0 }
	// A write that has the device waits for others within limits of its own, and calls the library.
	s.locks.queue.patient = func(name string) bool { return !s.locks.held[name] }
	s.forgot = runtime.AddCleanup(s, closeForgotten, handles)
	return &PoolMetadata{sharedStore: s, handle: handles.opened}, nil
}

// Deferred returns the same store for writes that may be deferred: committed without a flush of
// their own. All else that is done through it is as through m.
//
// A deferred write is visible at once to every goroutine and process, and survives whatever kills
// the process. A power cut may take it back, together with all that was written after it: what is
// in force then is one whole commit, no older than the last that was flushed. It is durable once a
// later write that is not deferred has returned, or [PoolMetadata.Sync], or [PoolMetadata.Close],
// and after the time of [WithDeferredAge] or the commits of [WithDeferredCommits] at the latest.
//
// Close closes the store for both, whichever it is called on.
func (m *PoolMetadata) Deferred() *PoolMetadata {
	return &PoolMetadata{sharedStore: m.sharedStore, handle: m.handles.deferred, deferred: true}
}

// absolute returns the path for a time when the working directory may be another.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

func closeForgotten(handles storeHandles) {
	// No caller can get an error.
	_ = closeHandle(handles.opened)
	_ = closeHandle(handles.deferred)
}

func closeHandle(handle C.uintptr_t) error {
	var reply C.pmgo_reply
	if status := C.pmgo_close(handle, &reply); status != C.PM_OK {
		return failure(status, reply.detail, opClose, doingClose)
	}
	return nil
}

// Close closes the store. Calls in progress end first, callbacks included. From the moment that
// Close is called, other calls fail with [ErrClosed], and so do writes that are still waiting.
// Closing a closed store does nothing and returns nil.
//
// If the calls in progress do not end within the lock wait, or another process keeps all others
// from writing for so long and what was deferred is not flushed, it fails with [ErrBusy]: the store
// takes no more calls, and Close can be called again to go on waiting. Inside a callback it fails
// at once, unless callbacks of other stores run at that moment. Concurrent calls of Close wait
// together, and get one result. If what was deferred cannot be flushed, it fails with [ErrIO], or
// with [ErrWritesStopped] if it could not be before, and the store is closed all the same.
func (m *PoolMetadata) Close() error {
	m.closing.Lock()
	if m.closed {
		m.closing.Unlock()
		return nil
	}
	own := &closeAttempt{ended: make(chan struct{}), inside: m.isInOwnCallback()}
	if other := m.attempt; other != nil {
		m.closing.Unlock()
		if own.inside {
			return errInCallback()
		}
		<-other.ended
		return other.err
	}
	m.attempt = own
	m.closing.Unlock()
	own.err = m.tryClose(own.inside)
	m.closing.Lock()
	m.attempt, m.closed = nil, own.err == nil
	m.closing.Unlock()
	close(own.ended)
	return own.err
}

const opClose, doingClose = "Close", "close the store"

func errInCallback() error {
	return newError(CodeBusy, opClose, doingClose,
		"this call comes from a callback of the store, which has to return first")
}

func (m *PoolMetadata) tryClose(inside bool) error {
	if inside {
		m.calls.shut(0)
		return errInCallback()
	}
	if !m.calls.shut(m.lockWait) {
		return newError(CodeBusy, opClose, doingClose,
			"the callback of an update, or a walk, has not ended yet")
	}
	if err := closeHandle(m.handles.opened); err != nil && !isClosed(err) {
		return err
	}
	// The library has closed the store: this releases the memory of the other handle.
	_ = closeHandle(m.handles.deferred)
	m.forgot.Stop()
	runtime.KeepAlive(m)
	return nil
}

// Sync makes durable what was deferred: see [PoolMetadata.Deferred] and [DurabilityRelaxed].
func (m *PoolMetadata) Sync() error {
	return m.call("Sync", "flush the store", func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_sync(m.handle, reply)
	})
}

// call makes a call of the library, unless the store is closed.
func (m *PoolMetadata) call(op, doing string, do func(*C.pmgo_reply) C.int32_t) error {
	if m.calls.isShut() {
		return errClosed(op, doing)
	}
	var reply C.pmgo_reply
	status := do(&reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return m.failure(status, reply.detail, op, doing)
	}
	return nil
}

// failure makes the error for a call that failed, which can mean that writes have stopped.
func (m *PoolMetadata) failure(status C.int32_t, detail C.uintptr_t, op, doing string) error {
	if status == C.PM_ERR_IO || status == C.PM_ERR_WRITES_STOPPED {
		m.suspect.Store(true)
	}
	return failure(status, detail, op, doing)
}

// Verify reads the whole store and checks that every row is sound and that the rows agree. Writers
// do not wait for it. The message of an [ErrCorrupt] says what is damaged.
func (m *PoolMetadata) Verify() error {
	return m.call("Verify", "verify the store", func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_verify(m.handle, reply)
	})
}

// Version returns the version of the C library, such as "0.1.0".
func Version() string {
	return C.GoString(C.pm_version())
}

// LMDBVersion returns the version of the LMDB inside it.
func LMDBVersion() string {
	return C.GoString(C.pm_lmdb_version())
}
