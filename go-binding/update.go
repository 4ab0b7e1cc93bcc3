//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"context"
	"runtime"
	"sync/atomic"
	"unsafe"
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
	var u nativeUpdate
	info := new(DeviceInfo)
	if _, err := u.begin(m, name, info, op); err != nil {
		return err
	}
	// Also when fn does not return.
	defer u.abort()
	if err := fn(info); err != nil {
		return err
	}
	return u.commit(info, op, name)
}

// nativeUpdate is an update that has begun; 0 before that and once it has ended.
type nativeUpdate struct {
	handle, device C.uintptr_t
}

// begin locks and reads the device.
func (u *nativeUpdate) begin(m *PoolMetadata, name string, info *DeviceInfo, op string) (uint64, error) {
	var (
		small [recordWords]C.uint64_t
		reply C.pmgo_reply
	)
	buffer := small[:]
	status := C.pmgo_update_begin(m.handle, text(name), size(name), unsafe.SliceData(buffer),
		C.size_t(len(buffer)*wordSize), &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return 0, failure(status, reply.detail, op, onDevice("update", name))
	}
	u.handle, u.device = reply.handle, reply.device
	if words := int(reply.size / wordSize); words > len(buffer) {
		buffer = make([]C.uint64_t, words)
		C.pmgo_update_read(u.device, unsafe.SliceData(buffer))
	}
	return decode(buffer, info), nil
}

// commit ends the update, however it turns out.
func (u *nativeUpdate) commit(info *DeviceInfo, op, name string) error {
	state, err := nativeState(info.State, op, name)
	if err != nil {
		u.abort()
		return err
	}
	var reply C.pmgo_reply
	handle, device := u.handle, u.device
	*u = nativeUpdate{}
	status := C.pmgo_update_commit(handle, device, C.uint32_t(info.DeviceID), C.uint64_t(info.Size), state,
		text(info.Name), size(info.Name), text(info.ParentName), size(info.ParentName),
		text(info.Error), size(info.Error), &reply)
	if status != C.PM_OK {
		return failure(status, reply.detail, op, onDevice("update", name))
	}
	return nil
}

// abort ends the update if it has not ended yet.
func (u *nativeUpdate) abort() {
	if u.handle != 0 {
		C.pmgo_update_abort(u.handle)
		*u = nativeUpdate{}
	}
}

// Update is an update of one device in two steps, for callers to whom the callback of UpdateDevice is in the way. The
// device is locked against writers of this process until Commit or Abort.
//
// An update that is forgotten is given up by the garbage collector some time. Closing the store does not wait for it,
// and makes its Commit fail with [ErrClosed].
type Update struct {
	store  *PoolMetadata
	name   string
	native nativeUpdate
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
	generation, err := u.native.begin(m, name, &u.Info, op)
	if err != nil {
		return nil, err
	}
	u.Generation = generation
	u.forgot = runtime.AddCleanup(u, func(forgotten nativeUpdate) { forgotten.abort() }, u.native)
	return u, nil
}

// Commit writes u.Info and ends the update, whatever it returns.
func (u *Update) Commit() error {
	const op = "Commit"
	if !u.end() {
		return newError(CodeInvalidArgument, op, onDevice("update", u.name), "the update has ended already")
	}
	defer runtime.KeepAlive(u)
	return u.native.commit(&u.Info, op, u.name)
}

// Abort gives the update up: nothing is written. It does nothing if the update has ended, so that it can be deferred.
func (u *Update) Abort() {
	if u.end() {
		u.native.abort()
		runtime.KeepAlive(u)
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
