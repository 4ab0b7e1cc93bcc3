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
	// ChangeFreeFaultyIDs frees all faulty ids that no device has, except IDs, as FreeFaultyIDs
	// does.
	ChangeFreeFaultyIDs ChangeKind = C.PM_CHANGE_FREE_FAULTY_IDS
	// ChangeMarkIDsFaulty keeps IDs out of use that no device has, as MarkIDsFaulty does.
	ChangeMarkIDsFaulty ChangeKind = C.PM_CHANGE_MARK_IDS_FAULTY
	// ChangeMarkIDsFaultyUpTo keeps all ids out of use that no device has, from 1 to the only one
	// of IDs, as MarkIDsFaultyUpTo does.
	ChangeMarkIDsFaultyUpTo ChangeKind = C.PM_CHANGE_MARK_IDS_FAULTY_UP_TO
	// ChangeBeginIntent notes that a change of the pool begins, as BeginIntent does.
	ChangeBeginIntent ChangeKind = C.PM_CHANGE_BEGIN_INTENT
	// ChangeFinishIntent notes that a change of the pool has ended, as FinishIntent does; it uses
	// only the intent's number.
	ChangeFinishIntent ChangeKind = C.PM_CHANGE_FINISH_INTENT
)

// Change is one change of a list for Apply and ApplyEach. Fields that its kind does not use are
// ignored.
type Change struct {
	Kind ChangeKind
	// Record is the device to change, for the kinds from ChangeAdd to ChangeFreeID. Once the change
	// is made, its DeviceID and Generation are those in the store; for a removed device, the id
	// that it had.
	Record *Record
	// IDs are those of ChangeFreeFaultyIDs, ChangeMarkIDsFaulty and ChangeMarkIDsFaultyUpTo.
	IDs []uint32
	// Changed is set, once a change with IDs is made, to the number of ids that it has made free or
	// faulty.
	Changed int
	// Intent is that of ChangeBeginIntent, which sets its Number and Commit, and of
	// ChangeFinishIntent.
	Intent *Intent
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
		list.addChange(&change)
		if name := change.device(); name != "" {
			names = append(names, name)
		}
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
	for i := range changes {
		list.applied(i, &changes[i])
	}
	return nil
}

func (c *Change) hasIDs() bool {
	return c.Kind >= ChangeFreeFaultyIDs && c.Kind <= ChangeMarkIDsFaultyUpTo
}

func (c *Change) hasIntent() bool {
	return c.Kind == ChangeBeginIntent || c.Kind == ChangeFinishIntent
}

// device returns the name of the device that the change locks, or "".
func (c *Change) device() string {
	if c.hasIDs() || c.hasIntent() || c.Record == nil || c.Kind == ChangeFreeID {
		return ""
	}
	return c.Record.Name
}

// check refuses a change that has no form in C.
func (c *Change) check(op, doing string) error {
	switch {
	case c.hasIDs():
		return nil
	case c.hasIntent() && c.Intent == nil:
		return newError(CodeInvalidArgument, op, doing, "the intent is nil")
	case c.hasIntent():
		return nil
	case c.Record == nil:
		return newError(CodeInvalidArgument, op, doing, "the record is nil")
	}
	return checkState(c.Record.State, op, func() string { return onDevice("change", c.Record.Name) })
}

// changeList is a list of changes in C's form, and their results once the library was called.
type changeList struct {
	changes  []C.pmgo_change
	texts    []byte
	ids      []uint32
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

// addChange adds a change that check has not refused.
func (l *changeList) addChange(c *Change) {
	switch {
	case c.hasIDs():
		l.changes = append(l.changes, C.pmgo_change{
			kind: C.int32_t(c.Kind), id_count: C.size_t(len(c.IDs)),
		})
		l.ids = append(l.ids, c.IDs...)
	case c.hasIntent():
		l.changes = append(l.changes, C.pmgo_change{
			kind:      C.int32_t(c.Kind),
			number:    C.uint64_t(c.Intent.Number),
			size:      C.uint64_t(c.Intent.TransactionID),
			state:     C.int32_t(c.Intent.Kind),
			device_id: C.uint32_t(c.Intent.DeviceID),
			name_len:  size(c.Intent.Name),
		})
		l.texts = append(l.texts, c.Intent.Name...)
	default:
		l.add(c.Kind, &c.Record.DeviceInfo, c.Record.Generation)
	}
}

// append adds the changes of another list.
func (l *changeList) append(other *changeList) {
	l.changes = append(l.changes, other.changes...)
	l.texts = append(l.texts, other.texts...)
	l.ids = append(l.ids, other.ids...)
}

// bytes is how much the changes hold beside themselves.
func (l *changeList) bytes() int { return len(l.texts) + 4*len(l.ids) }

// call is the one place where the package calls the library to write devices.
func (l *changeList) call(store C.uintptr_t, how C.int32_t, reply *C.pmgo_reply) C.int32_t {
	return C.pmgo_apply(store, how, unsafe.SliceData(l.changes), C.size_t(len(l.changes)),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(l.texts))), numbers(l.ids), reply)
}

// applyEach makes each change by itself: the list says then how each ended.
func (l *changeList) applyEach(store C.uintptr_t) {
	l.call(store, C.PMGO_EACH, nil)
}

// applied sets in a change what change i of the list has done.
func (l *changeList) applied(i int, c *Change) {
	made := &l.changes[i]
	switch {
	case c.hasIDs():
		c.Changed = int(made.number)
	case c.Kind == ChangeBeginIntent:
		c.Intent.Number, c.Intent.Commit = uint64(made.number), uint64(made.generation)
	case c.Kind != ChangeFinishIntent:
		c.Record.DeviceID, c.Record.Generation = uint32(made.device_id), uint64(made.generation)
	}
}

// reset empties the list, and keeps its memory unless that is much.
func (l *changeList) reset() {
	const much = 1 << 16
	if cap(l.texts) > much {
		l.texts = nil
	}
	l.changes, l.texts, l.ids = l.changes[:0], l.texts[:0], nil
}
