//go:build linux && cgo

package poolmetadata

/*
#cgo noescape pmgo_reconcile
#cgo noescape pmgo_differences_take
#cgo noescape pmgo_apply_reconciliation

#cgo nocallback pmgo_reconcile
#cgo nocallback pmgo_differences_take
#cgo nocallback pmgo_apply_reconciliation

#include "reconcile.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// DifferenceKind is what a store and its pool disagree about.
type DifferenceKind int32

const (
	// OnlyInStore: the store has a device that is not in the pool.
	OnlyInStore DifferenceKind = C.PM_DIFFERENCE_ONLY_IN_STORE
	// OnlyInPool: the pool has a device that is not in the store, and whose id the store keeps out
	// of use.
	OnlyInPool DifferenceKind = C.PM_DIFFERENCE_ONLY_IN_POOL
	// IDWouldCollide: the pool has a device that is not in the store, and whose id the store would
	// assign. The kernel would refuse it (EEXIST).
	IDWouldCollide DifferenceKind = C.PM_DIFFERENCE_ID_WOULD_COLLIDE
	// ForeignID: the pool has a device with an id that no store assigns, 0 or the last one. Another
	// program has made it.
	ForeignID DifferenceKind = C.PM_DIFFERENCE_FOREIGN_ID
	// IDLeaked: an id is faulty, no device has it, and the pool has nothing under it.
	IDLeaked DifferenceKind = C.PM_DIFFERENCE_ID_LEAKED
	// NoSnapshot: no snapshot has the device. The snapshotter cannot make one of that name.
	NoSnapshot DifferenceKind = C.PM_DIFFERENCE_NO_SNAPSHOT
	// NoDevice: a snapshot's device is not in the store.
	NoDevice DifferenceKind = C.PM_DIFFERENCE_NO_DEVICE
)

// StoreAction is what brings the store in step.
type StoreAction int32

const (
	// ActionNothing: the store stays as it is.
	ActionNothing StoreAction = C.PM_ACTION_NOTHING
	// ActionFreeID frees the id.
	ActionFreeID StoreAction = C.PM_ACTION_FREE_ID
	// ActionMarkIDFaulty keeps the id out of use.
	ActionMarkIDFaulty StoreAction = C.PM_ACTION_MARK_ID_FAULTY
	// ActionRemoveRecord removes the device's record, which frees its id.
	ActionRemoveRecord StoreAction = C.PM_ACTION_REMOVE_RECORD
	// ActionRemoveRecordKeepID removes the device's record, and keeps its id out of use: the pool
	// has a device under it, or may have one.
	ActionRemoveRecordKeepID StoreAction = C.PM_ACTION_REMOVE_RECORD_KEEP_ID
)

// PoolState is what is known of a pool and its snapshotter: the devices, the snapshots, or both.
type PoolState struct {
	// DeviceIDs are those of all devices that the pool has, in any order, each once. nil if they
	// are not known; an empty list that is not nil if the pool has none.
	DeviceIDs []uint32
	// Snapshots are the names of all devices that the snapshotter has a snapshot for. nil if they
	// are not known; an empty list that is not nil if there are no snapshots.
	Snapshots []string
	// Commit is the store's before the lists were made (Stats.Commits), nil if the store was not in
	// use meanwhile: devices that were written later are left alone, since the lists cannot have
	// them. A snapshotter adds the device of a new snapshot first and the snapshot last: let the
	// time that this takes pass between reading the commit and listing the snapshots.
	Commit *uint64
}

// Difference is one thing that a store and its pool disagree about.
type Difference struct {
	Kind DifferenceKind
	// Action is what brings the store in step.
	Action StoreAction
	// Name of the device, empty if neither the store nor the snapshotter has one.
	Name string
	// DeviceID is 0 with NoDevice.
	DeviceID uint32
	// State of the device in the store, nil if the store does not have it.
	State *DeviceState
	// InPool says whether the pool is known to have the device.
	InPool bool
	// DeleteFromPool says whether the device should be deleted from the pool, if it is there. That
	// is the operator's to do: see PoolCommands.
	DeleteFromPool bool
	// Text says what is wrong.
	Text string

	// The commit that last wrote the device's record.
	generation uint64
}

// PoolCommands returns the commands that delete the device from the pool, which is a device-mapper
// name or path, if it should be deleted: the first deactivates it, if it has a name that a shell
// reads as it is, and fails if it is not active. They destroy the device's data.
func (d *Difference) PoolCommands(pool string) []string {
	if !d.DeleteFromPool {
		return nil
	}
	var commands []string
	if isWord(d.Name) && !strings.HasPrefix(d.Name, "-") {
		commands = append(commands, "dmsetup remove "+d.Name)
	}
	if !isWord(pool) {
		pool = "'" + strings.ReplaceAll(pool, "'", `'\''`) + "'"
	}
	return append(commands, fmt.Sprintf("dmsetup message %s 0 'delete %d'", pool, d.DeviceID))
}

// isWord says whether a shell takes the text as one word without quotes.
func isWord(text string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/:"
	return text != "" && strings.Trim(text, plain) == ""
}

// Reconciliation is everything that a store and its pool disagree about.
type Reconciliation struct {
	// Commit is the one that was compared.
	Commit uint64
	// InBoth is the number of devices that are in both, 0 if the pool's are not known.
	InBoth int
	// Newer is the number of devices that were left alone because they are newer than the lists.
	Newer int
	// Differences are those of devices by name, then of ids, then of snapshots without a device.
	// Those that should not be applied can be taken out.
	Differences []Difference
}

// Reconcile compares the store, as of one moment, with what is known of its pool and of the
// snapshotter: what is in one of them only, and what would bring the store in step. Nothing is
// changed. If neither is known, it fails with [ErrInvalidArgument].
//
// A device that belongs to no snapshot is to be removed from the store, and its id kept out of use
// unless the pool is known not to have it. A device that a snapshot has and the pool lacks is only
// reported. One in state Removed is left alone, since its removal is pending, unless the pool lacks
// it.
//
// If the store is in use meanwhile, read Stats.Commits first, make the lists later, and pass all of
// it: see PoolState.Commit.
func (m *PoolMetadata) Reconcile(pool PoolState) (*Reconciliation, error) {
	block := strings.Join(pool.Snapshots, "")
	lens := make([]C.size_t, len(pool.Snapshots))
	for i, name := range pool.Snapshots {
		lens[i] = size(name)
	}
	names := C.int64_t(len(lens))
	if pool.Snapshots == nil {
		names = -1
	}
	var commit C.uint64_t
	var inUse C.int32_t
	if pool.Commit != nil {
		commit, inUse = C.uint64_t(*pool.Commit), 1
	}
	var reply C.pmgo_reply
	var counts C.pmgo_counts
	err := m.call("Reconcile", "compare the store with its pool",
		func(r *C.pmgo_reply) C.int32_t {
			status := C.pmgo_reconcile(m.handle, numbers(pool.DeviceIDs),
				C.size_t(len(pool.DeviceIDs)), text(block), unsafe.SliceData(lens), names, commit,
				inUse, &counts, r)
			reply = *r
			return status
		})
	if err != nil {
		return nil, err
	}
	return &Reconciliation{uint64(counts.commit), int(counts.in_both), int(counts.newer),
		differencesOf(&reply)}, nil
}

// differencesOf copies and frees the differences that the library has found.
func differencesOf(reply *C.pmgo_reply) []Difference {
	rows := make([]C.pmgo_difference, reply.count)
	block := make([]byte, reply.size)
	C.pmgo_differences_take(reply.handle, unsafe.SliceData(rows),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(block))))
	texts := string(block)
	cut := func(n C.size_t) (text string) {
		text, texts = texts[:n], texts[n:]
		return text
	}
	differences := make([]Difference, len(rows))
	for i, row := range rows {
		differences[i] = Difference{
			Kind:           DifferenceKind(row.kind),
			Action:         StoreAction(row.action),
			Name:           cut(row.name_len),
			DeviceID:       uint32(row.device_id),
			InPool:         row.in_pool != 0,
			DeleteFromPool: row.delete_from_pool != 0,
			Text:           cut(row.text_len),
			generation:     uint64(row.generation),
		}
		if row.state >= 0 {
			state := DeviceState(row.state)
			differences[i].State = &state
		}
	}
	return differences
}

// ApplyReconciliation does the store's part of a plan in one commit, all of it or nothing, and
// returns how many differences it has dealt with. What the pool has to do comes after it: see
// Difference.PoolCommands.
//
// It fails with [ErrConflict] or [ErrNotFound] if a device was written or removed since, and with
// [ErrIDInUse] or [ErrIDNotFaulty] if an id was assigned or freed since: compare again.
func (m *PoolMetadata) ApplyReconciliation(plan *Reconciliation) (int, error) {
	const op, doing = "ApplyReconciliation", "bring the store in step with its pool"
	if plan == nil {
		return 0, newError(CodeInvalidArgument, op, doing, "the plan is nil")
	}
	rows := make([]C.pmgo_difference, len(plan.Differences))
	var names strings.Builder
	for i := range plan.Differences {
		each := &plan.Differences[i]
		rows[i] = C.pmgo_difference{
			generation: C.uint64_t(each.generation),
			action:     C.int32_t(each.Action),
			device_id:  C.uint32_t(each.DeviceID),
			name_len:   size(each.Name),
		}
		names.WriteString(each.Name)
	}
	var count C.uint64_t
	err := m.call(op, doing, func(reply *C.pmgo_reply) C.int32_t {
		status := C.pmgo_apply_reconciliation(m.handle, unsafe.SliceData(rows),
			C.size_t(len(rows)), text(names.String()), reply)
		count = reply.count
		return status
	})
	return int(count), err
}
