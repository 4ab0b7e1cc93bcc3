//go:build linux && cgo

package poolmetadata

// #include "native.h"
import "C"

import "runtime"

// ApplyEach makes each change of a list by itself, in as few commits as possible, and returns how
// each ended: nil, or the error that it would have had by itself. A change sees what those before
// it did to its device.
//
// It is for writes that do not belong together, such as marking each device that was found
// incomplete: a refused change does not prevent the others, as it does with [PoolMetadata.Apply].
// Goroutines that write one device each share commits as well, and need no list.
//
// Changes of a device that an update has locked come last. They wait for their devices no longer
// than the lock wait, all together, and those that could not be made by then have [ErrTimeout].
// Where the library itself times out, for instance because a walk keeps the map from growing, no
// change waits for its device any more.
func (m *PoolMetadata) ApplyEach(changes []Change) []error {
	each := applyEach{
		store:   m,
		changes: changes,
		errs:    make([]error, len(changes)),
		budget:  waitBudget{m.lockWait},
	}
	if m.calls.isShut() {
		for i := range changes {
			each.errs[i] = errClosed(opApplyEach, each.doing(i))
		}
		return each.errs
	}
	pending := make([]int, 0, len(changes))
	for i := range changes {
		if each.errs[i] = changes[i].check(opApplyEach, each.doing(i)); each.errs[i] == nil {
			pending = append(pending, i)
		}
	}
	for wait := false; len(pending) > 0; {
		rest := each.batch(pending, wait)
		// Nothing was made if all that are pending are of locked devices.
		wait = len(rest) == len(pending)
		pending = rest
	}
	return each.errs
}

const opApplyEach = "ApplyEach"

// applyEach is a call of ApplyEach.
type applyEach struct {
	store   *PoolMetadata
	changes []Change
	errs    []error
	budget  waitBudget
	late    bool // the library has timed out
}

func (e *applyEach) doing(i int) string {
	if name := e.changes[i].device(); name != "" {
		return onDevice("change", name)
	}
	return "apply a change"
}

// batch makes pending changes, given by position, as many as one call of the library takes, and
// returns the rest. Changes of locked devices are left for later as long as there is a budget. With
// wait, it waits for the device of the first.
//
// Once the library has timed out, the next call takes all changes: the library times out once a
// call.
func (e *applyEach) batch(pending []int, wait bool) (rest []int) {
	var list changeList
	var made []int
	mine := map[string]bool{} // whether this call has locked the device
	defer func() {
		for name, locked := range mine {
			if locked {
				e.store.locks.unlock(name)
			}
		}
	}()
	for at, i := range pending {
		full := len(made) == maxBatchWrites || list.bytes() >= maxBatchBytes
		if full && !e.late {
			rest = append(rest, pending[at:]...)
			break
		}
		name := e.changes[i].device()
		if _, tried := mine[name]; !tried && name != "" {
			mine[name] = e.lock(name, wait && at == 0)
		}
		switch {
		case mine[name] || name == "":
			list.addChange(&e.changes[i])
			made = append(made, i)
		case e.budget.left > 0:
			rest = append(rest, i)
		default:
			e.errs[i] = e.store.errLocked(opApplyEach, e.doing(i), name)
		}
	}
	if len(made) > 0 {
		e.call(&list, made)
	}
	return rest
}

func (e *applyEach) lock(name string, wait bool) bool {
	if wait {
		return e.store.locks.lock(name, &e.budget)
	}
	return e.store.locks.tryLock(name)
}

// call makes the changes of a list, which are those at the positions made.
func (e *applyEach) call(list *changeList, made []int) {
	e.store.queue.calling.Add(1)
	list.applyEach(e.store.handle)
	e.store.queue.calling.Add(-1)
	runtime.KeepAlive(e.store)
	for at, i := range made {
		change := &list.changes[at]
		if change.status == C.PM_OK {
			list.applied(at, &e.changes[i])
			continue
		}
		if change.status == C.PM_ERR_TIMEOUT {
			e.late, e.budget.left = true, 0
		}
		e.errs[i] = e.store.failure(change.status, change.detail, opApplyEach, e.doing(i))
	}
}
