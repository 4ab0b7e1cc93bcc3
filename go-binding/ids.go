//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_list_ids
#cgo noescape pmgo_list_intents
#cgo noescape pmgo_walk_removals
#cgo noescape pmgo_ids_rows
#cgo noescape pmgo_intents_rows
#cgo noescape pmgo_removals_rows
#cgo noescape pmgo_walk_filtered
#cgo noescape pmgo_begin_intent
#cgo noescape pmgo_finish_intent
#cgo noescape pmgo_open_identity
#cgo noescape pmgo_get_identity
#cgo noescape pmgo_identity_take
#cgo noescape pmgo_set_identity

#cgo nocallback pmgo_list_ids
#cgo nocallback pmgo_list_intents
#cgo nocallback pmgo_walk_removals
#cgo nocallback pmgo_ids_rows
#cgo nocallback pmgo_intents_rows
#cgo nocallback pmgo_removals_rows
#cgo nocallback pmgo_walk_filtered
#cgo nocallback pmgo_begin_intent
#cgo nocallback pmgo_finish_intent
#cgo nocallback pmgo_open_identity
#cgo nocallback pmgo_get_identity
#cgo nocallback pmgo_identity_take
#cgo nocallback pmgo_set_identity

#include "in_step.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// IDState is what a device id is used for.
type IDState int32

const (
	// IDFree: it was freed and can be assigned again.
	IDFree IDState = C.PM_ID_FREE
	// IDTaken: a device has it.
	IDTaken IDState = C.PM_ID_TAKEN
	// IDFaulty: it must not be assigned. A device may have it.
	IDFaulty IDState = C.PM_ID_FAULTY
)

// IDInfo is one device id.
type IDInfo struct {
	DeviceID uint32
	State    IDState
	// Name is that of the device that has the id, or empty.
	Name string
}

// ListIDs returns the device ids that were ever assigned, in ascending order, with the devices that
// have them, as of one moment: those in one of the states, or in any if none is given.
func (m *PoolMetadata) ListIDs(states ...IDState) ([]IDInfo, error) {
	const op, doing = "ListIDs", "list the device ids"
	var wanted C.uint32_t
	for _, state := range states {
		if state < IDFree || state > IDFaulty {
			return nil, newError(CodeInvalidArgument, op, doing,
				fmt.Sprintf("%d is no state of an id", state))
		}
		wanted |= 1 << state
	}
	rows, names, err := m.rows(op, doing, func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_list_ids(m.handle, wanted, 0, 0, reply)
	}, func(list C.uintptr_t, rows *C.pmgo_row, names *C.char) { C.pmgo_ids_rows(list, rows, names) })
	if err != nil {
		return nil, err
	}
	ids := make([]IDInfo, len(rows))
	for i, row := range rows {
		ids[i] = IDInfo{uint32(row.device_id), IDState(row.kind), names[i]}
	}
	return ids, nil
}

// rows returns the rows of a list that the library makes, and their names.
func (m *PoolMetadata) rows(
	op, doing string, list func(*C.pmgo_reply) C.int32_t,
	take func(C.uintptr_t, *C.pmgo_row, *C.char),
) ([]C.pmgo_row, []string, error) {
	var reply C.pmgo_reply
	err := m.call(op, doing, func(r *C.pmgo_reply) C.int32_t {
		status := list(r)
		reply = *r
		return status
	})
	if err != nil {
		return nil, nil, err
	}
	rows, names := rowsOf(&reply, take)
	return rows, names, nil
}

// rowsOf copies and frees a list of the library's.
func rowsOf(
	reply *C.pmgo_reply, take func(C.uintptr_t, *C.pmgo_row, *C.char),
) ([]C.pmgo_row, []string) {
	rows := make([]C.pmgo_row, reply.count)
	block := make([]byte, reply.size)
	take(reply.handle, unsafe.SliceData(rows), (*C.char)(unsafe.Pointer(unsafe.SliceData(block))))
	rest := unsafe.String(unsafe.SliceData(block), len(block))
	names := make([]string, len(rows))
	for i := range rows {
		names[i], rest = rest[:rows[i].name_len], rest[rows[i].name_len:]
	}
	return rows, names
}

// GetDeviceByID returns the device with that id, or fails with [ErrNotFound]. It looks at every
// device, as a walk does.
func (m *PoolMetadata) GetDeviceByID(id uint32) (*DeviceInfo, error) {
	found, err := m.DevicesWhere(DeviceFilter{FirstID: id, LastID: id})
	if err != nil {
		return nil, err
	}
	// 0 is no limit, and no device's id.
	if len(found) == 0 || id == 0 {
		return nil, ErrNotFound
	}
	return &found[0], nil
}

// FreeID frees a faulty id that no device has, so that it can be assigned again: once the pool has
// nothing under it any more. It fails with [ErrIDInUse] if a device has it, and with
// [ErrIDNotFaulty] if it is free or was never assigned.
func (m *PoolMetadata) FreeID(id uint32) error {
	return m.changeOne("FreeID", fmt.Sprintf("free device id %d", id), &Change{
		Kind: ChangeFreeID, Record: &Record{DeviceInfo: DeviceInfo{DeviceID: id}},
	})
}

// ReplaceDeviceID gives a device another id, because the kernel has refused the one that it has
// (EEXIST): that one becomes faulty, and the next one is assigned, in one commit. id is the one
// that was refused; if the device has another one by now, nothing changes ([ErrConflict]).
func (m *PoolMetadata) ReplaceDeviceID(name string, id uint32) (newID uint32, err error) {
	record := &Record{DeviceInfo: DeviceInfo{Name: name, DeviceID: id}}
	err = m.changeOne("ReplaceDeviceID", onDevice("replace the id of", name),
		&Change{Kind: ChangeReplaceID, Record: record})
	if err != nil {
		return 0, err
	}
	return record.DeviceID, nil
}

// changeOne makes one change of a list of its own.
func (m *PoolMetadata) changeOne(op, doing string, change *Change) error {
	if m.calls.isShut() {
		return errClosed(op, doing)
	}
	list := []Change{*change}
	err := m.Apply(list)
	*change = list[0]
	if one, is := err.(*ChangeError); is {
		return one.Err
	}
	return err
}

// FreeFaultyIDs frees all faulty ids that no device has, except those of a list: the ids that are
// in the pool. It returns how many it has freed.
func (m *PoolMetadata) FreeFaultyIDs(except []uint32) (int, error) {
	return m.changeIDs("FreeFaultyIDs", "free the faulty ids", ChangeFreeFaultyIDs, except)
}

// MarkIDsFaulty keeps ids out of use that no device has: each becomes faulty, whether it was free
// or never assigned. Ids that a device has, and faulty ones, stay as they are. It returns how many
// have become faulty.
//
// After a restore of an older backup, the ids that are in the pool are such a list: the store would
// assign those of devices that it does not know.
func (m *PoolMetadata) MarkIDsFaulty(ids []uint32) (int, error) {
	return m.changeIDs("MarkIDsFaulty", "keep ids out of use", ChangeMarkIDsFaulty, ids)
}

// MarkIDsFaultyUpTo keeps all ids from 1 to last out of use that no device has.
func (m *PoolMetadata) MarkIDsFaultyUpTo(last uint32) (int, error) {
	return m.changeIDs("MarkIDsFaultyUpTo", "keep ids out of use", ChangeMarkIDsFaultyUpTo,
		[]uint32{last})
}

func (m *PoolMetadata) changeIDs(op, doing string, kind ChangeKind, ids []uint32) (int, error) {
	change := Change{Kind: kind, IDs: ids}
	err := m.changeOne(op, doing, &change)
	return change.Changed, err
}

// DeviceFilter selects devices: by default all.
type DeviceFilter struct {
	// States that a device may have; none stands for any.
	States []DeviceState
	// Parent is the name of the parent that a device must have; nil stands for any, and a pointer
	// to an empty string for devices without a parent.
	Parent *string
	// FirstID and LastID are the lowest and the highest id that a device may have; 0 stands for no
	// limit.
	FirstID, LastID uint32
	// Since is the commit after which a device must have been written.
	Since uint64
}

// DevicesWhere returns the devices that the filter selects, in the byte order of their names, as of
// one moment.
func (m *PoolMetadata) DevicesWhere(filter DeviceFilter) ([]DeviceInfo, error) {
	var found []DeviceInfo
	err := m.filtered("DevicesWhere", filter, func(w *nativeWalk) (err error) {
		found, err = w.all("DevicesWhere", "walk the devices")
		return err
	})
	return found, err
}

// Children returns the devices that are snapshots of the one of that name.
func (m *PoolMetadata) Children(name string) ([]DeviceInfo, error) {
	return m.DevicesWhere(DeviceFilter{Parent: &name})
}

// filtered shows a walk over the devices that the filter selects.
func (m *PoolMetadata) filtered(op string, f DeviceFilter, show func(*nativeWalk) error) error {
	const doing = "walk the devices"
	var states C.uint32_t
	for _, state := range f.States {
		if err := checkState(state, op, func() string { return doing }); err != nil {
			return err
		}
		states |= 1 << state
	}
	parent, anyParent := "", C.int32_t(1)
	if f.Parent != nil {
		parent, anyParent = *f.Parent, 0
	}
	if !m.calls.enter() {
		return errClosed(op, doing)
	}
	defer m.calls.leave()
	var reply C.pmgo_reply
	status := C.pmgo_walk_filtered(m.handle, states, C.uint32_t(f.FirstID), C.uint32_t(f.LastID),
		C.uint64_t(f.Since), text(parent), size(parent), anyParent, &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		return failure(status, reply.detail, op, doing)
	}
	w := nativeWalk{handle: reply.handle}
	defer w.end()
	return show(&w)
}

// all returns the devices of a walk.
func (w *nativeWalk) all(op, doing string) ([]DeviceInfo, error) {
	var all []DeviceInfo
	for {
		if err := w.next(op, doing); err != nil {
			return nil, err
		}
		if w.left == 0 {
			return all, nil
		}
		known := len(all)
		all = append(all, make([]DeviceInfo, w.left)...)
		w.decode(all[known:])
	}
}
