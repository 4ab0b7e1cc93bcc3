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

// recordWords is the room on the stack for a record: 512 bytes, enough for most. Larger ones are read twice.
const recordWords = 64

// onDevice is the beginning of an error text about one device.
func onDevice(verb, name string) string {
	return verb + " device " + strconv.Quote(name)
}

// AddDevice adds info to the store and sets info.DeviceID to the id it got: the lowest that is free, or else one that
// was never used. What was in that field does not matter; on failure it is left alone.
//
// A device of that name is an error, [ErrAlreadyExists], unless it is faulty: then it is replaced and gets another id,
// and the one it had stays out of use.
func (m *PoolMetadata) AddDevice(_ context.Context, info *DeviceInfo) error {
	const op = "AddDevice"
	if info == nil {
		return newError(CodeInvalidArgument, op, "save metadata for a device", "the device is nil")
	}
	fail := func(status C.int32_t, detail C.uintptr_t) error {
		return failure(status, detail, op,
			fmt.Sprintf("save metadata for device %q (parent: %q)", info.Name, info.ParentName))
	}
	if m.calls.isShut() {
		return fail(C.PM_ERR_CLOSED, 0)
	}
	state, err := nativeState(info.State, op, info.Name)
	if err != nil {
		return err
	}
	var reply C.pmgo_reply
	status := C.pmgo_add(m.handle, text(info.Name), size(info.Name), text(info.ParentName), size(info.ParentName),
		text(info.Error), size(info.Error), C.uint64_t(info.Size), state, &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return fail(status, reply.detail)
	}
	info.DeviceID = uint32(reply.device_id)
	return nil
}

// nativeState returns a state as C has it. C's are narrower, so that they cannot all be checked there.
func nativeState(state DeviceState, op, name string) (C.int32_t, error) {
	if state < Unknown || state > Faulty {
		return 0, newError(CodeInvalidState, op, onDevice("write", name),
			fmt.Sprintf("%d is no device state; they go from %d (Unknown) to %d (Faulty)", int(state), Unknown, Faulty))
	}
	return C.int32_t(state), nil
}

// GetDevice looks a device up. If there is none of that name, it returns [ErrNotFound] and a pointer to an empty
// DeviceInfo, as containerd's store does.
func (m *PoolMetadata) GetDevice(_ context.Context, name string) (*DeviceInfo, error) {
	info := new(DeviceInfo)
	_, err := m.read(name, info)
	return info, err
}

// Record is a device and the number of the commit that last wrote it.
type Record struct {
	DeviceInfo
	// Generation grows with each write of the device, and is never the same for two states of it.
	Generation uint64 `json:"generation"`
}

// GetRecord looks a device up and tells also when it was last written.
func (m *PoolMetadata) GetRecord(name string) (Record, error) {
	var record Record
	generation, err := m.read(name, &record.DeviceInfo)
	record.Generation = generation
	return record, err
}

// read fills info and returns the device's generation.
func (m *PoolMetadata) read(name string, info *DeviceInfo) (uint64, error) {
	const op = "GetDevice"
	if m.calls.isShut() {
		return 0, errClosed(op, onDevice("get", name))
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
			// It may have grown again when the second read comes.
			buffer = make([]C.uint64_t, reply.size/wordSize)
		default:
			return 0, failure(status, reply.detail, op, onDevice("get", name))
		}
	}
}

// ChangeDeviceState sets a device's state. Setting Faulty this way leaves the device's id as it is; MarkFaulty marks both.
func (m *PoolMetadata) ChangeDeviceState(_ context.Context, name string, state DeviceState) error {
	const op = "ChangeDeviceState"
	if m.calls.isShut() {
		return errClosed(op, onDevice("change the state of", name))
	}
	number, err := nativeState(state, op, name)
	if err != nil {
		return err
	}
	var reply C.pmgo_reply
	status := C.pmgo_change_state(m.handle, text(name), size(name), number, &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return failure(status, reply.detail, op, onDevice("change the state of", name))
	}
	return nil
}

// MarkFaulty marks a device and its id as faulty. The device can then be added again and gets another id; the one it
// had stays out of use until the device is removed. Marking a faulty device again is no error.
func (m *PoolMetadata) MarkFaulty(_ context.Context, name string) error {
	const op = "MarkFaulty"
	if m.calls.isShut() {
		return errClosed(op, onDevice("mark", name)+" as faulty")
	}
	var reply C.pmgo_reply
	status := C.pmgo_mark_faulty(m.handle, text(name), size(name), &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return failure(status, reply.detail, op, onDevice("mark", name)+" as faulty")
	}
	return nil
}

// RemoveDevice removes a device and frees its id, even if it was faulty.
func (m *PoolMetadata) RemoveDevice(_ context.Context, name string) error {
	const op = "RemoveDevice"
	if m.calls.isShut() {
		return errClosed(op, onDevice("remove", name))
	}
	var reply C.pmgo_reply
	status := C.pmgo_remove(m.handle, text(name), size(name), &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return failure(status, reply.detail, op, onDevice("remove", name))
	}
	return nil
}
