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
	// ChangeUpdate writes the record over the one of the same name if the generation is still the
	// same, for a record that GetRecord returned and the caller has changed. Otherwise it is
	// refused with [ErrConflict]. Do not use records that were read before a restore: see [Record].
	ChangeUpdate ChangeKind = C.PM_CHANGE_UPDATE
	// ChangeState sets the state of the device of that name; it uses only the name and the state.
	ChangeState ChangeKind = C.PM_CHANGE_STATE
	// ChangeMarkFaulty marks the device of that name and its id as faulty; it uses only the name.
	ChangeMarkFaulty ChangeKind = C.PM_CHANGE_MARK_FAULTY
	// ChangeRemove removes the device of that name; it uses only the name.
	ChangeRemove ChangeKind = C.PM_CHANGE_REMOVE
	// ChangeReplaceID gives the device of that name another id, as ReplaceDeviceID does; it uses
	// only the name and the id, which is the one that was refused.
	ChangeReplaceID ChangeKind = C.PM_CHANGE_REPLACE_ID
	// ChangeFreeID frees a faulty id that no device has, as FreeID does; it uses only the id.
	ChangeFreeID ChangeKind = C.PM_CHANGE_FREE_ID
)

// Change is one change of a list for Apply.
type Change struct {
	Kind ChangeKind
	// Record is the device to change. Once the list is applied, its DeviceID and Generation are
	// those in the store; for a removed device, the id that it had.
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

// Apply makes a list of changes in one commit: all of them, in their order, or none. A change sees
// what those before it did. If one is refused, the error is a [*ChangeError] that says which;
// otherwise it concerns the whole list.
func (m *PoolMetadata) Apply(changes []Change) error {
	const op = "Apply"
	doing := fmt.Sprintf("apply a list of changes (%d)", len(changes))
	if m.calls.isShut() {
		return errClosed(op, doing)
	}
	var list changeList
	names := make([]string, 0, len(changes))
	for i, change := range changes {
		if err := change.check(op, doing); err != nil {
			return &ChangeError{i, err}
		}
		list.add(change.Kind, &change.Record.DeviceInfo, change.Record.Generation)
		names = append(names, change.Record.Name)
	}
	budget := waitBudget{m.lockWait}
	unlock, locked := m.locks.lockAll(names, &budget)
	if unlock == nil {
		return m.errLocked(op, doing, locked)
	}
	defer unlock()
	var reply C.pmgo_reply
	m.queue.calling.Add(1)
	status := list.call(m.handle, C.PMGO_WHOLE, &reply)
	m.queue.calling.Add(-1)
	runtime.KeepAlive(m)
	if status != C.PM_OK {
		err := m.failure(status, reply.detail, op, doing)
		if int(reply.count) < len(changes) {
			return &ChangeError{int(reply.count), err}
		}
		return err
	}
	for i, change := range changes {
		list.applied(i, change.Record)
	}
	return nil
}

// check refuses a change that has no form in C.
func (c *Change) check(op, doing string) error {
	if c.Record == nil {
		return newError(CodeInvalidArgument, op, doing, "the record is nil")
	}
	return checkState(c.Record.State, op, func() string { return onDevice("change", c.Record.Name) })
}

// changeList is a list of changes in C's form, and their results once the library was called.
type changeList struct {
	changes  []C.pmgo_change
	texts    []byte
	store    C.uintptr_t // the handle that a call of the queue is made with
	deferred bool        // the commit need not be flushed
}

func (l *changeList) add(kind ChangeKind, info *DeviceInfo, generation uint64) {
	l.changes = append(l.changes, C.pmgo_change{
		size:       C.uint64_t(info.Size),
		generation: C.uint64_t(generation),
		name_len:   size(info.Name),
		parent_len: size(info.ParentName),
		text_len:   size(info.Error),
		device_id:  C.uint32_t(info.DeviceID),
		state:      C.int32_t(info.State),
		kind:       C.int32_t(kind),
	})
	l.texts = append(l.texts, info.Name...)
	l.texts = append(l.texts, info.ParentName...)
	l.texts = append(l.texts, info.Error...)
}

// append adds the changes of another list.
func (l *changeList) append(other *changeList) {
	l.changes = append(l.changes, other.changes...)
	l.texts = append(l.texts, other.texts...)
}

// call is the one place where the package calls the library to write devices.
func (l *changeList) call(store C.uintptr_t, how C.int32_t, reply *C.pmgo_reply) C.int32_t {
	return C.pmgo_apply(store, how, unsafe.SliceData(l.changes), C.size_t(len(l.changes)),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(l.texts))), reply)
}

// applyEach makes each change by itself: the list says then how each ended.
func (l *changeList) applyEach(store C.uintptr_t) {
	l.call(store, C.PMGO_EACH, nil)
}

// applied sets the id and generation of record to those of change i in the store.
func (l *changeList) applied(i int, record *Record) {
	record.DeviceID = uint32(l.changes[i].device_id)
	record.Generation = uint64(l.changes[i].generation)
}

// reset empties the list, and keeps its memory unless that is much.
func (l *changeList) reset() {
	const much = 1 << 16
	if cap(l.texts) > much {
		l.texts = nil
	}
	l.changes, l.texts = l.changes[:0], l.texts[:0]
}
