//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_import
#cgo noescape pmgo_walk_ids
#cgo noescape pmgo_ids_take
#cgo noescape pmgo_walk_begin

#cgo nocallback pmgo_import
#cgo nocallback pmgo_walk_ids
#cgo nocallback pmgo_ids_take
#cgo nocallback pmgo_walk_begin

#include "import.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// DeviceIDs is the state of all device ids at one moment. Ids from 1 to LastID that are in neither
// list are taken: each belongs to one device.
type DeviceIDs struct {
	// LastID is the highest id that was ever assigned; 0 for none.
	LastID uint32 `json:"last_id"`
	// Free are the ids that can be assigned again, in ascending order.
	Free []uint32 `json:"free"`
	// Faulty are the ids that must not be assigned, in ascending order. A device may have one.
	Faulty []uint32 `json:"faulty"`
}

// Snapshot returns all devices, in the byte order of their names, and the state of all ids, as of
// one moment.
func (m *PoolMetadata) Snapshot() ([]DeviceInfo, DeviceIDs, error) {
	const op, doing = "Snapshot", "read the whole store"
	if !m.calls.enter() {
		return nil, DeviceIDs{}, errClosed(op, doing)
	}
	defer m.calls.leave()
	var reply C.pmgo_reply
	status := C.pmgo_walk_begin(m.handle, &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return nil, DeviceIDs{}, failure(status, reply.detail, op, doing)
	}
	w := nativeWalk{handle: reply.handle}
	defer w.end()
	ids, err := w.ids(op, doing)
	if err != nil {
		return nil, DeviceIDs{}, err
	}
	all, err := w.all(op, doing)
	if err != nil {
		return nil, DeviceIDs{}, err
	}
	return all, ids, nil
}

// ids returns the state of the ids, as of the moment when the walk began.
func (w *nativeWalk) ids(op, doing string) (DeviceIDs, error) {
	var reply C.pmgo_reply
	if status := C.pmgo_walk_ids(w.handle, &reply); status != C.PM_OK {
		return DeviceIDs{}, failure(status, reply.detail, op, doing)
	}
	ids := DeviceIDs{
		LastID: uint32(reply.last_id),
		Free:   make([]uint32, reply.count),
		Faulty: make([]uint32, reply.size),
	}
	C.pmgo_ids_take(reply.ids, numbers(ids.Free), numbers(ids.Faulty))
	return ids, nil
}

// numbers returns the elements of list as an argument for C, which uses them during the call only.
func numbers(list []uint32) *C.uint32_t {
	return (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(list)))
}

// Import fills an empty store with a whole pool's devices, ids included, in one commit. The devices
// are in the byte order of their names and keep their ids. Every id from 1 to ids.LastID must
// belong to a device, or be free, or be faulty; a faulty id may belong to a device as well.
// Snapshot returns what Import takes.
//
// A store that ever had a device fails with [ErrNotEmpty]. If Import fails, the store stays empty.
func (m *PoolMetadata) Import(devices []DeviceInfo, ids DeviceIDs) error {
	const op, doing = "Import", "fill the store"
	words := 0
	for i := range devices {
		n, err := wordsOf(&devices[i])
		if err != nil {
			return newError(CodeTooLong, op, doing, err.Error())
		}
		words += n
	}
	records := make([]uint64, words)
	at := 0
	for i := range devices {
		at += encode(records[at:], &devices[i])
	}
	return m.call(op, doing, func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_import(m.handle,
			(*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(records))), C.size_t(len(records)*wordSize),
			C.uint32_t(ids.LastID), numbers(ids.Free), C.size_t(len(ids.Free)),
			numbers(ids.Faulty), C.size_t(len(ids.Faulty)), reply)
	})
}

// wordsOf returns the size in words of a device's record. The record's fields could not hold the
// lengths of texts that are much too long.
func wordsOf(info *DeviceInfo) (int, error) {
	texts := len(info.Name) + len(info.ParentName) + len(info.Error) + 3
	if texts > 4*MaxErrorLen {
		return 0, fmt.Errorf("the texts of device %.100q have %d bytes", info.Name, texts)
	}
	return (C.sizeof_pm_record + texts + wordSize - 1) / wordSize, nil
}

// encode writes a device's record to the start of words, which are zeros, and returns its size. See
// decode.
func encode(words []uint64, info *DeviceInfo) int {
	size, _ := wordsOf(info)
	record := (*C.pm_record)(unsafe.Pointer(unsafe.SliceData(words[:size])))
	*record = C.pm_record{
		record_size:     C.uint32_t(size * wordSize),
		device_id:       C.uint32_t(info.DeviceID),
		size:            C.uint64_t(info.Size),
		state:           stateNumber(info.State),
		name_len:        C.uint32_t(len(info.Name)),
		parent_name_len: C.uint32_t(len(info.ParentName)),
		error_len:       C.uint32_t(len(info.Error)),
	}
	texts := unsafe.Slice((*byte)(unsafe.Pointer(record)), size*wordSize)[C.sizeof_pm_record:]
	for _, text := range []string{info.Name, info.ParentName, info.Error} {
		texts = texts[copy(texts, text)+1:]
	}
	return size
}

// stateNumber returns the state for C, or an invalid number for an invalid state.
func stateNumber(state DeviceState) C.int32_t {
	if state < Unknown || state > Faulty {
		return -1
	}
	return C.int32_t(state)
}
