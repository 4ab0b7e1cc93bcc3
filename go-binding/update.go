//go:build linux && cgo

package poolmetadata

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
)

// UpdateDevice calls fn once, with a copy of a device's record, and writes the record that fn has
// changed. If fn returns an error, nothing is written, and UpdateDevice returns that error itself.
// If fn panics or ends its goroutine, nothing is written either, and the store stays usable.
//
// The name and the device id cannot be changed: that is [ErrIdentityChanged].
//
// While fn runs, the device is locked against writers of this process, and everything else goes on.
// fn may read the store and write other devices. A write of the same device from inside fn cannot
// succeed: it fails with [ErrTimeout] after the lock wait (see [WithLockWait]). If another process
// changes the device meanwhile, the update fails with [ErrConflict].
func (m *PoolMetadata) UpdateDevice(_ context.Context, name string, fn DeviceInfoCallback) error {
	const op = "UpdateDevice"
	if fn == nil {
		return errNoCallback(op, onDevice("update", name))
	}
	if !m.calls.enter() {
		return errClosed(op, onDevice("update", name))
	}
	defer m.calls.leave()
	info := new(DeviceInfo)
	u, err := m.beginUpdate(name, info, op)
	if err != nil {
		return err
	}
	// Deferred, since fn may panic or end the goroutine.
	defer m.locks.unlock(name)
	if err := fn(info); err != nil {
		return err
	}
	return m.commitUpdate(u, name, info, op)
}

// begun is the record that an update has begun with, without its texts but for the parent. The
// device id and the generation must be unchanged when the update ends.
type begun struct {
	deviceID   uint32
	generation uint64
	size       uint64
	parent     string
	state      DeviceState
}

// beginUpdate locks and reads the device.
func (m *PoolMetadata) beginUpdate(name string, info *DeviceInfo, op string) (begun, error) {
	if err := m.checkWritable(op, name); err != nil {
		return begun{}, err
	}
	if budget := (waitBudget{m.lockWait}); !m.locks.lock(name, &budget) {
		return begun{}, m.errLocked(op, onDevice("update", name), name)
	}
	m.locks.setOpen(name, true)
	generation, err := m.read(name, info, op, "update")
	if err != nil {
		m.locks.unlock(name)
		return begun{}, err
	}
	return begun{info.DeviceID, generation, info.Size, info.ParentName, info.State}, nil
}

// checkWritable refuses an update that could not be written in the end, before its callback has
// side effects.
func (m *PoolMetadata) checkWritable(op, name string) error {
	if m.readOnly {
		return newError(CodeReadOnly, op, onDevice("update", name), "the store was opened read-only")
	}
	if !m.suspect.Load() {
		return nil
	}
	stats, err := m.Stats()
	if err != nil {
		return nil // the next read says more
	}
	if !stats.WritesStopped {
		m.suspect.Store(false)
		return nil
	}
	return newError(CodeWritesStopped, op, onDevice("update", name),
		"fsyncs failed again and again, or the file system stopped taking writes; the store "+
			"takes no writes until it is closed and opened again, once the file system is sound")
}

// commitUpdate writes the record if the device is unchanged. The device stays locked. The budget is
// a new one, as the library's is: the callback has had side effects by now, and its write must not
// time out because the device's lock took long.
func (m *PoolMetadata) commitUpdate(u begun, name string, info *DeviceInfo, op string) error {
	doing := func() string { return onDevice("update", name) }
	if err := checkState(info.State, op, doing); err != nil {
		return err
	}
	if info.Name != name || info.DeviceID != u.deviceID {
		return newError(CodeIdentityChanged, op, doing(), fmt.Sprintf(
			"an update may not change a device's name or id: name %s became %s, device id %d became %d",
			quoted(name), quoted(info.Name), u.deviceID, info.DeviceID))
	}
	m.locks.setOpen(name, false)
	budget := waitBudget{m.lockWait}
	_, err := m.writerFor(&u, info).writeLocked(ChangeUpdate, info, u.generation, &budget, op, doing)
	return err
}

// Update is an update of one device in two steps, for callers that cannot use the callback of
// UpdateDevice. The device is locked against writers of this process until Commit or Abort.
//
// The garbage collector aborts an update that is no longer reachable, at some time. Closing the
// store does not wait for an update, and makes its Commit fail with [ErrClosed].
type Update struct {
	store  *PoolMetadata
	name   string
	begun  begun
	ended  atomic.Bool
	forgot runtime.Cleanup

	// Info is the record. The caller may change what UpdateDevice's callback may change.
	Info DeviceInfo
	// Generation is the number of the commit that last wrote the device.
	Generation uint64
}

// BeginUpdate locks a device against writers of this process and reads it. If another update of it
// does not end within the lock wait, it fails with [ErrTimeout].
func (m *PoolMetadata) BeginUpdate(name string) (*Update, error) {
	const op = "BeginUpdate"
	if m.calls.isShut() {
		return nil, errClosed(op, onDevice("update", name))
	}
	u := &Update{store: m, name: name}
	var err error
	if u.begun, err = m.beginUpdate(name, &u.Info, op); err != nil {
		return nil, err
	}
	u.Generation = u.begun.generation
	u.forgot = runtime.AddCleanup(u, func(name string) { m.locks.unlock(name) }, name)
	return u, nil
}

// Commit writes u.Info and ends the update, even if it fails.
func (u *Update) Commit() error {
	const op = "Commit"
	if !u.end() {
		return newError(CodeInvalidArgument, op, onDevice("update", u.name),
			"the update has ended already")
	}
	defer u.store.locks.unlock(u.name)
	return u.store.commitUpdate(u.begun, u.name, &u.Info, op)
}

// Abort ends the update without writing. It does nothing if the update has ended, so that it can be
// deferred.
func (u *Update) Abort() {
	if u.end() {
		u.store.locks.unlock(u.name)
	}
}

// end ends the update, and reports false if it has ended before.
func (u *Update) end() bool {
	if u.ended.Swap(true) {
		return false
	}
	u.forgot.Stop()
	return true
}
