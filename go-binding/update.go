//go:build linux && cgo

package poolmetadata

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
)

// UpdateDevice calls fn with a copy of a device's record, once, and writes what fn has made of it. If fn returns an
// error, nothing is written, and that error comes back as it is. If fn panics or ends its goroutine, nothing is written
// either, and the store stays usable.
//
// The name and the device id cannot be changed: that is [ErrIdentityChanged].
//
// While fn runs, the device is locked against writers of this process, and everything else goes on. fn may read the
// store and write other devices. Writing the same device from inside fn cannot succeed: it waits for the lock wait (see
// [WithLockWait]) and fails with [ErrTimeout]. If another process changes the device meanwhile, the update fails with
// [ErrConflict].
func (m *PoolMetadata) UpdateDevice(_ context.Context, name string, fn DeviceInfoCallback) error {
	const op = "UpdateDevice"
	if fn == nil {
		return errNoCallback(op, onDevice("update", name))
	}
	if !m.calls.enter() {
		return errClosed(op, onDevice("update", name))
	}
	defer m.calls.leave()
	info, budget := new(DeviceInfo), waitBudget{m.lockWait}
	u, err := m.beginUpdate(name, info, &budget, op)
	if err != nil {
		return err
	}
	// Also when fn does not return.
	defer m.locks.unlock(name)
	if err := fn(info); err != nil {
		return err
	}
	return m.commitUpdate(u, name, info, &budget, op)
}

// begun is what an update has to find unchanged when it ends.
type begun struct {
	deviceID   uint32
	generation uint64
}

// beginUpdate locks and reads the device.
func (m *PoolMetadata) beginUpdate(
	name string, info *DeviceInfo, budget *waitBudget, op string,
) (begun, error) {
	if err := m.checkWritable(op, name); err != nil {
		return begun{}, err
	}
	if !m.locks.lock(name, budget) {
		return begun{}, m.errLocked(op, onDevice("update", name), name)
	}
	generation, err := m.read(name, info, op, "update")
	if err != nil {
		m.locks.unlock(name)
		return begun{}, err
	}
	return begun{info.DeviceID, generation}, nil
}

// checkWritable refuses an update that could not be written in the end, before its callback does what it does.
func (m *PoolMetadata) checkWritable(op, name string) error {
	if m.readOnly {
		return newError(CodeReadOnly, op, onDevice("update", name), "the store was opened read-only")
	}
	if !m.suspect.Load() {
		return nil
	}
	stats, err := m.Stats()
	if err != nil {
		return nil // the read that comes next says more
	}
	if !stats.WritesStopped {
		m.suspect.Store(false)
		return nil
	}
	return newError(CodeWritesStopped, op, onDevice("update", name), "a flush failed earlier, so what is on disk is "+
		"uncertain; the store takes no writes until it is closed and opened again")
}

// commitUpdate writes the record, if the device is as it was. The device stays locked.
func (m *PoolMetadata) commitUpdate(
	u begun, name string, info *DeviceInfo, budget *waitBudget, op string,
) error {
	doing := func() string { return onDevice("update", name) }
	if err := checkState(info.State, op, doing); err != nil {
		return err
	}
	if info.Name != name || info.DeviceID != u.deviceID {
		return newError(CodeIdentityChanged, op, doing(), fmt.Sprintf(
			"an update may not change a device's name or id: name %s became %s, device id %d became %d",
			quoted(name), quoted(info.Name), u.deviceID, info.DeviceID))
	}
	_, err := m.writeLocked(ChangeUpdate, info, u.generation, budget, op, doing)
	return err
}

// Update is an update of one device in two steps, for callers to whom the callback of UpdateDevice is in the way. The
// device is locked against writers of this process until Commit or Abort.
//
// An update that is forgotten is given up by the garbage collector some time. Closing the store does not wait for it,
// and makes its Commit fail with [ErrClosed].
type Update struct {
	store  *PoolMetadata
	name   string
	begun  begun
	ended  atomic.Bool
	forgot runtime.Cleanup

	// Info is the record to change, as UpdateDevice's callback may.
	Info DeviceInfo
	// Generation is the number of the commit that last wrote the device.
	Generation uint64
}

// BeginUpdate locks a device against writers of this process and reads it. If another update of it does not end within
// the lock wait, it fails with [ErrTimeout].
func (m *PoolMetadata) BeginUpdate(name string) (*Update, error) {
	const op = "BeginUpdate"
	if m.calls.isShut() {
		return nil, errClosed(op, onDevice("update", name))
	}
	u := &Update{store: m, name: name}
	var err error
	budget := waitBudget{m.lockWait}
	if u.begun, err = m.beginUpdate(name, &u.Info, &budget, op); err != nil {
		return nil, err
	}
	u.Generation = u.begun.generation
	u.forgot = runtime.AddCleanup(u, func(name string) { m.locks.unlock(name) }, name)
	return u, nil
}

// Commit writes u.Info and ends the update, whatever it returns.
func (u *Update) Commit() error {
	const op = "Commit"
	if !u.end() {
		return newError(CodeInvalidArgument, op, onDevice("update", u.name), "the update has ended already")
	}
	defer u.store.locks.unlock(u.name)
	budget := waitBudget{u.store.lockWait}
	return u.store.commitUpdate(u.begun, u.name, &u.Info, &budget, op)
}

// Abort gives the update up: nothing is written. It does nothing if the update has ended, so that it can be deferred.
func (u *Update) Abort() {
	if u.end() {
		u.store.locks.unlock(u.name)
	}
}

// end reports whether the caller is the one who ends the update.
func (u *Update) end() bool {
	if u.ended.Swap(true) {
		return false
	}
	u.forgot.Stop()
	return true
}
