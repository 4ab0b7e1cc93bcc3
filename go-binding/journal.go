//go:build linux && cgo

package poolmetadata

// #include "in_step.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// IntentKind is what a change of the pool does there.
type IntentKind int32

const (
	// IntentCreate creates a thin device.
	IntentCreate IntentKind = C.PM_INTENT_CREATE
	// IntentSnapshot creates a snapshot.
	IntentSnapshot IntentKind = C.PM_INTENT_SNAPSHOT
	// IntentDelete deletes a thin device.
	IntentDelete IntentKind = C.PM_INTENT_DELETE
)

// Intent is a change of the pool that has begun and is not known to have ended.
type Intent struct {
	// Number is set by BeginIntent; no two intents of a store have the same.
	Number uint64
	Kind   IntentKind
	// Name is that of the device, which need not be in the store.
	Name string
	// DeviceID is that in the pool.
	DeviceID uint32
	// TransactionID is the pool's when the change began. The store keeps it as it is, to be
	// compared with the pool's later.
	TransactionID uint64
	// Commit is set by BeginIntent: the commit that wrote the intent.
	Commit uint64
}

// BeginIntent notes, on disk, that a change of the pool is about to be made: call it before the
// message to the kernel, and FinishIntent after it. What had begun when the system went down is
// then found with Intents, to be finished or undone in the pool. The store sends nothing to the
// pool, and no other method depends on intents.
func (m *PoolMetadata) BeginIntent(intent *Intent) error {
	const op = "BeginIntent"
	if intent == nil {
		return newError(CodeInvalidArgument, op, "begin an intent", "the intent is nil")
	}
	return m.call(op, onDevice("begin an intent on", intent.Name),
		func(reply *C.pmgo_reply) C.int32_t {
			status := C.pmgo_begin_intent(m.handle, C.int32_t(intent.Kind),
				C.uint32_t(intent.DeviceID), C.uint64_t(intent.TransactionID), text(intent.Name),
				size(intent.Name), reply)
			if status == C.PM_OK {
				intent.Number, intent.Commit = uint64(reply.count), uint64(reply.size)
			}
			return status
		})
}

// FinishIntent notes that a change of the pool has ended, made or given up. It fails with
// [ErrNotFound] if no intent of that number is open.
func (m *PoolMetadata) FinishIntent(number uint64) error {
	return m.call("FinishIntent", fmt.Sprintf("finish intent %d", number),
		func(reply *C.pmgo_reply) C.int32_t {
			return C.pmgo_finish_intent(m.handle, C.uint64_t(number), reply)
		})
}

// Intents returns the changes of the pool that have begun and are not finished, in the order of
// their numbers.
func (m *PoolMetadata) Intents() ([]Intent, error) {
	rows, names, err := m.rows("Intents", "list the intents",
		func(reply *C.pmgo_reply) C.int32_t { return C.pmgo_list_intents(m.handle, reply) },
		func(list C.uintptr_t, rows *C.pmgo_row, names *C.char) {
			C.pmgo_intents_rows(list, rows, names)
		})
	if err != nil {
		return nil, err
	}
	intents := make([]Intent, len(rows))
	for i, row := range rows {
		intents[i] = Intent{uint64(row.number), IntentKind(row.kind), names[i],
			uint32(row.device_id), uint64(row.transaction), uint64(row.commit)}
	}
	return intents, nil
}

// Removal is a device that was removed.
type Removal struct {
	// Name of the device. A device of that name may have been added since.
	Name string
	// DeviceID that it had.
	DeviceID uint32
	// Commit that removed it.
	Commit uint64
}

// Changes is what has changed since a commit.
type Changes struct {
	// Commit is the newest one: pass it to ChangesSince the next time.
	Commit uint64
	// Written are the devices that were added or changed, in the byte order of their names.
	Written []DeviceInfo
	// Removed are the devices that were removed, in the order of commits.
	Removed []Removal
	// Complete says whether Removed has all of them: a store remembers the last 4096.
	Complete bool
}

// ChangesSince returns what was written and removed after a commit, as of one moment. 0 stands for
// the beginning. After a restore of an older backup, numbers of commits are used again.
func (m *PoolMetadata) ChangesSince(commit uint64) (*Changes, error) {
	const op, doing = "ChangesSince", "find what has changed"
	changes := &Changes{}
	err := m.filtered(op, DeviceFilter{Since: commit}, func(w *nativeWalk) error {
		var reply C.pmgo_reply
		var newest C.uint64_t
		status := C.pmgo_walk_removals(w.handle, C.uint64_t(commit), &newest, &reply)
		if status != C.PM_OK {
			return failure(status, reply.detail, op, doing)
		}
		rows, names := rowsOf(&reply, func(list C.uintptr_t, rows *C.pmgo_row, names *C.char) {
			C.pmgo_removals_rows(list, rows, names)
		})
		for i, row := range rows {
			removal := Removal{names[i], uint32(row.device_id), uint64(row.commit)}
			changes.Removed = append(changes.Removed, removal)
		}
		changes.Commit, changes.Complete = uint64(newest), reply.last_id != 0
		var err error
		changes.Written, err = w.all(op, doing)
		return err
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// Identity returns the identity of the pool that the store belongs to, or "" if it has none: see
// [WithIdentity].
func (m *PoolMetadata) Identity() (string, error) {
	var identity []byte
	err := m.call("Identity", "read the pool's identity", func(reply *C.pmgo_reply) C.int32_t {
		status := C.pmgo_get_identity(m.handle, reply)
		if status == C.PM_OK && reply.handle != 0 {
			identity = make([]byte, reply.size)
			C.pmgo_identity_take(reply.handle, (*C.char)(unsafe.Pointer(unsafe.SliceData(identity))))
		}
		return status
	})
	return string(identity), err
}

// SetIdentity gives the store another identity, or none for "": the pool was moved, or made anew.
func (m *PoolMetadata) SetIdentity(identity string) error {
	return m.call("SetIdentity", "set the pool's identity", func(reply *C.pmgo_reply) C.int32_t {
		return C.pmgo_set_identity(m.handle, text(identity), size(identity), reply)
	})
}
