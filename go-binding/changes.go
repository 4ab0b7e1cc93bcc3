//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_apply
#cgo nocallback pmgo_apply

#include "changes.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// ChangeKind is what a [Change] does.
type ChangeKind int32

const (
	// ChangeAdd adds the device, as AddDevice does.
	ChangeAdd ChangeKind = C.PM_CHANGE_ADD
	// ChangeUpdate writes the record over the one of the same name, if that one's generation is still the one given:
	// what GetRecord returned, changed. Otherwise it is refused with [ErrConflict].
	ChangeUpdate ChangeKind = C.PM_CHANGE_UPDATE
	// ChangeState sets the state of the device of that name; only name and state are looked at.
	ChangeState ChangeKind = C.PM_CHANGE_STATE
	// ChangeMarkFaulty marks the device of that name and its id as faulty; only the name is looked at.
	ChangeMarkFaulty ChangeKind = C.PM_CHANGE_MARK_FAULTY
	// ChangeRemove removes the device of that name; only the name is looked at.
	ChangeRemove ChangeKind = C.PM_CHANGE_REMOVE
)

// Change is one change of a list for Apply.
type Change struct {
	Kind ChangeKind
	// Record is the device to do it to. When the list has been applied, its DeviceID and Generation are what the store
	// has then; for a removed device, the id that it had.
	Record *Record
}

// ChangeError says which change of a list was refused, and why.
type ChangeError struct {
	// Index is the position of the change, counted from 0.
	Index int
	// Err is the error that the change would have had by itself.
	Err error
}

func (e *ChangeError) Error() string { return fmt.Sprintf("change %d: %v", e.Index, e.Err) }

// Unwrap returns e.Err.
func (e *ChangeError) Unwrap() error { return e.Err }

// Apply makes a list of changes in one commit: all of them, in their order, or none. A change sees what those before it
// did. If one is refused, the error is a [*ChangeError] that says which; otherwise it concerns the whole list.
func (m *PoolMetadata) Apply(changes []Change) error {
	const op = "Apply"
	doing := fmt.Sprintf("apply %d changes", len(changes))
	if m.calls.isShut() {
		return errClosed(op, doing)
	}
	list := make([]C.pmgo_change, len(changes))
	var texts []byte
	for i, change := range changes {
		record := change.Record
		if record == nil {
			return &ChangeError{i, newError(CodeInvalidArgument, op, doing, "the record is nil")}
		}
		state, err := nativeState(record.State, op, record.Name)
		if err != nil {
			return &ChangeError{i, err}
		}
		list[i] = C.pmgo_change{
			size:       C.uint64_t(record.Size),
			generation: C.uint64_t(record.Generation),
			name_len:   size(record.Name),
			parent_len: size(record.ParentName),
			text_len:   size(record.Error),
			device_id:  C.uint32_t(record.DeviceID),
			state:      state,
			kind:       C.int32_t(change.Kind),
		}
		texts = append(texts, record.Name...)
		texts = append(texts, record.ParentName...)
		texts = append(texts, record.Error...)
	}
	var reply C.pmgo_reply
	status := C.pmgo_apply(m.handle, unsafe.SliceData(list), C.size_t(len(list)),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(texts))), &reply)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		err := failure(status, reply.detail, op, doing)
		if int(reply.count) < len(changes) {
			return &ChangeError{int(reply.count), err}
		}
		return err
	}
	for i, change := range changes {
		change.Record.DeviceID = uint32(list[i].device_id)
		change.Record.Generation = uint64(list[i].generation)
	}
	return nil
}
