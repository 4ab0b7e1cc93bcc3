//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import (
	"runtime"
	"time"
)

// ApplyEach makes each change of a list by itself, in as few commits as can take them along, and returns for each how
// that ended: nil, or the error that it would have had by itself. A change sees what those before it did to its device.
//
// It is for writes that do not belong together, such as marking each device that was found incomplete: one that is
// refused does not keep back the others, as it does with [PoolMetadata.Apply]. Goroutines that write one device each
// share commits as well, and need no list.
//
// Changes of a device that an update has locked come last. They are waited for, all together, no longer than the lock
// wait, and those that could not be made then have [ErrTimeout].
func (m *PoolMetadata) ApplyEach(changes []Change) []error {
	each := applyEach{store: m, changes: changes, errs: make([]error, len(changes))}
	if m.calls.isShut() {
		for i := range changes {
			each.errs[i] = errClosed(opApplyEach, each.doing(i))
		}
		return each.errs
	}
	var left []int
	later := map[string]bool{}
	for i := 0; i < len(changes); {
		i, left = each.unlocked(i, left, later)
	}
	each.late = false
	end := time.Now().Add(m.locks.wait)
	for at, i := range left {
		if each.late {
			each.last(left[at:])
			break
		}
		each.locked(i, time.Until(end))
	}
	return each.errs
}

const opApplyEach = "ApplyEach"

// applyEach is a call of ApplyEach.
type applyEach struct {
	store   *PoolMetadata
	changes []Change
	errs    []error
	late    bool // the library has waited for something in vain
}

func (e *applyEach) doing(i int) string {
	if e.changes[i].Record == nil {
		return "apply a change"
	}
	return onDevice("change", e.changes[i].Record.Name)
}

// unlocked makes changes from i on, as many as one call takes along, and returns where it ended. Those of devices that
// others have locked it adds to left, and so are those that come later for the same device, by name. Once a call has
// waited in vain, the next takes all along: the library waits in vain once for a list.
func (e *applyEach) unlocked(i int, left []int, later map[string]bool) (int, []int) {
	var list changeList
	var made []int
	held := map[string]bool{}
	defer e.unlock(held)
	for ; i < len(e.changes) && (e.late || len(made) < mostWrites && len(list.texts) < mostBytes); i++ {
		change := e.changes[i]
		if err := list.check(change, opApplyEach, e.doing(i)); err != nil {
			e.errs[i] = err
			continue
		}
		name := change.Record.Name
		if !held[name] && (later[name] || !e.store.locks.tryLock(name)) {
			later[name] = true
			left = append(left, i)
			continue
		}
		held[name] = true
		list.add(change.Kind, &change.Record.DeviceInfo, change.Record.Generation)
		made = append(made, i)
	}
	e.call(&list, made)
	return i, left
}

// locked makes one change, of a device that others have locked.
func (e *applyEach) locked(i int, wait time.Duration) {
	change := e.changes[i]
	name := change.Record.Name
	if !e.store.locks.lockWithin(name, wait) {
		e.errs[i] = e.store.errLocked(opApplyEach, e.doing(i), name)
		return
	}
	defer e.store.locks.unlock(name)
	var list changeList
	list.add(change.Kind, &change.Record.DeviceInfo, change.Record.Generation)
	e.call(&list, []int{i})
}

// last makes all that are left, in one call, once one of them has waited in vain: by then the wait for their devices is
// over, too.
func (e *applyEach) last(left []int) {
	var list changeList
	var made []int
	held := map[string]bool{}
	defer e.unlock(held)
	for _, i := range left {
		change := e.changes[i]
		name := change.Record.Name
		if !held[name] && !e.store.locks.tryLock(name) {
			e.errs[i] = e.store.errLocked(opApplyEach, e.doing(i), name)
			continue
		}
		held[name] = true
		list.add(change.Kind, &change.Record.DeviceInfo, change.Record.Generation)
		made = append(made, i)
	}
	e.call(&list, made)
}

func (e *applyEach) unlock(held map[string]bool) {
	for name := range held {
		e.store.locks.unlock(name)
	}
}

// call has the library make what is in the list: the changes of those positions.
func (e *applyEach) call(list *changeList, made []int) {
	if len(made) == 0 {
		return
	}
	list.applyEach(e.store.handle)
	runtime.KeepAlive(e.store)
	for at, i := range made {
		if change := &list.changes[at]; change.status != C.PM_OK {
			e.late = e.late || change.status == C.PM_ERR_TIMEOUT
			e.errs[i] = e.store.failure(change.status, change.detail, opApplyEach, e.doing(i))
			continue
		}
		list.applied(at, e.changes[i].Record)
	}
}
