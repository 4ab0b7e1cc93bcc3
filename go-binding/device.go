//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"unsafe"
)

// recordWords is the size of the stack buffer for a record: 512 bytes, enough for most records.
// Larger ones are read twice.
const recordWords = 64

// onDevice returns the start of an error text about one device.
func onDevice(verb, name string) string {
	return verb + " device " + quoted(name)
}

// quoted returns a name for an error text. A name that is longer than a device's can be is
// shortened to both its ends.
func quoted(name string) string {
	const end = 40
	if len(name) > MaxNameLen {
		name = name[:end] + "..." + name[len(name)-end:]
	}
	return strconv.Quote(name)
}

// AddDevice adds info to the store and sets info.DeviceID to the assigned id: the lowest free id,
// or a new one. The old value of the field is ignored; on failure it stays.
//
// If a device of that name exists, AddDevice fails with [ErrAlreadyExists], unless that device is
// faulty: then it is replaced and gets another id, and its old id stays out of use.
func (m *PoolMetadata) AddDevice(_ context.Context, info *DeviceInfo) error {
	const op = "AddDevice"
	if info == nil {
		return newError(CodeInvalidArgument, op, "save metadata for a device", "the device is nil")
	}
	doing := func() string {
		return fmt.Sprintf("save metadata for device %s (parent: %s)", quoted(info.Name),
			quoted(info.ParentName))
	}
	id, err := m.write(ChangeAdd, info, op, doing)
	if err == nil {
		info.DeviceID = id
	}
	return err
}

// write makes one change, which needs no generation, and returns the device's id.
func (m *PoolMetadata) write(
	kind ChangeKind, info *DeviceInfo, op string, doing func() string,
) (uint32, error) {
	if m.calls.isShut() {
		return 0, errClosed(op, doing())
	}
	if err := checkState(info.State, op, doing); err != nil {
		return 0, err
	}
	name, budget := info.Name, waitBudget{m.lockWait}
	if !m.locks.lock(name, &budget) {
		return 0, m.errLocked(op, doing(), name)
	}
	defer m.locks.unlock(name)
	return m.writeLocked(kind, info, 0, &budget, op, doing)
}

// writeLocked makes one change of a device that the caller has locked.
func (m *PoolMetadata) writeLocked(
	kind ChangeKind, info *DeviceInfo, generation uint64, budget *waitBudget,
	op string, doing func() string,
) (uint32, error) {
	w := writes.Get().(*write)
	w.value.add(kind, info, generation)
	w.value.store, w.value.deferred = m.handle, m.deferred
	inTime := m.queue.do(w, budget)
	runtime.KeepAlive(m)
	result := w.value.changes[0]
	w.value.reset()
	writes.Put(w)
	switch {
	case !inTime:
		return 0, newError(CodeTimeout, op, doing(), fmt.Sprintf(
			"timed out after %v waiting for the writes of other goroutines", m.lockWait))
	case result.status != C.PM_OK:
		return 0, m.failure(result.status, result.detail, op, doing())
	}
	return uint32(result.device_id), nil
}

// errLocked is the error for a device that was not unlocked in time.
func (m *PoolMetadata) errLocked(op, doing, name string) error {
	return newError(CodeTimeout, op, doing, fmt.Sprintf(
		"timed out after %v waiting for device %q, which another update of this process has locked",
		m.lockWait, name))
}

// checkState refuses numbers that are not states. C cannot check them all: its type is narrower.
func checkState(state DeviceState, op string, doing func() string) error {
	if state >= Unknown && state <= Faulty {
		return nil
	}
	return newError(CodeInvalidState, op, doing(),
		fmt.Sprintf("%d is not a device state; they go from %d (Unknown) to %d (Faulty)", int(state),
			Unknown, Faulty))
}

// GetDevice looks a device up. If there is none of that name, it returns [ErrNotFound] and a
// pointer to an empty DeviceInfo, as containerd's store does.
func (m *PoolMetadata) GetDevice(_ context.Context, name string) (*DeviceInfo, error) {
	info := new(DeviceInfo)
	_, err := m.read(name, info, "GetDevice", "get")
	return info, err
}

// Record is a device and the number of the commit that last wrote it.
type Record struct {
	DeviceInfo
	// Generation grows with each write of the device, and is never the same for two versions of it,
	// unless [Restore] has put back an older backup. Its numbers occur again then: do not use a
	// record that was read before a restore for [ChangeUpdate].
	Generation uint64 `json:"generation"`
}

// GetRecord looks a device up. The result includes the commit that last wrote it.
func (m *PoolMetadata) GetRecord(name string) (Record, error) {
	var record Record
	generation, err := m.read(name, &record.DeviceInfo, "GetRecord", "get")
	record.Generation = generation
	return record, err
}

// read fills info and returns the device's generation.
func (m *PoolMetadata) read(name string, info *DeviceInfo, op, verb string) (uint64, error) {
	if m.calls.isShut() {
		return 0, errClosed(op, onDevice(verb, name))
	}
	var (
		small [recordWords]C.uint64_t
		reply C.pmgo_reply
	)
	buffer := small[:]
	for {
		status := C.pmgo_get(m.handle, text(name), size(name), unsafe.SliceData(buffer),
			C.size_t(len(buffer)*wordSize), &reply)
		runtime.KeepAlive(m)
		switch status {
		case C.PM_OK:
			return decode(buffer, info), nil
		case C.PM_ERR_NOT_FOUND:
			return 0, ErrNotFound
		case C.PM_ERR_BUFFER_TOO_SMALL:
			// The record may have grown again by the second read.
			buffer = make([]C.uint64_t, reply.size/wordSize)
		default:
			return 0, failure(status, reply.detail, op, onDevice(verb, name))
		}
	}
}

// ChangeDeviceState sets a device's state. Setting Faulty this way leaves the device's id as it is;
// MarkFaulty marks both.
func (m *PoolMetadata) ChangeDeviceState(_ context.Context, name string, state DeviceState) error {
	info := DeviceInfo{Name: name, State: state}
	_, err := m.write(ChangeState, &info, "ChangeDeviceState", func() string {
		return onDevice("change the state of", name)
	})
	return err
}

// MarkFaulty marks a device and its id as faulty. The device can then be added again and gets
// another id; the old id stays out of use until the device is removed. Marking a faulty device
// again is no error.
func (m *PoolMetadata) MarkFaulty(_ context.Context, name string) error {
	info := DeviceInfo{Name: name}
	_, err := m.write(ChangeMarkFaulty, &info, "MarkFaulty", func() string {
		return onDevice("mark", name) + " as faulty"
	})
	return err
}

// RemoveDevice removes a device and frees its id, even if it was faulty.
func (m *PoolMetadata) RemoveDevice(_ context.Context, name string) error {
	info := DeviceInfo{Name: name}
	_, err := m.write(ChangeRemove, &info, "RemoveDevice", func() string {
		return onDevice("remove", name)
	})
	return err
}
