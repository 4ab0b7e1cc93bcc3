package poolmetadata

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// startLockWaiter starts a call that has to wait for a device, and returns a function that waits
// for the call's error.
func startLockWaiter(t testing.TB, store *PoolMetadata, call func() error) func() error {
	t.Helper()
	before := store.locks.queue.waiting()
	result := make(chan error, 1)
	go func() { result <- call() }()
	eventually(t, func() bool { return store.locks.queue.waiting() == before+1 })
	return func() error { return <-result }
}

// checkFree checks that no device is locked.
func (l *deviceLocks) checkFree(t testing.TB) {
	t.Helper()
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	if len(l.held) != 0 {
		t.Errorf("locked: %v", l.held)
	}
}

func TestDeviceLocksAreIndependent(t *testing.T) {
	var locks deviceLocks
	if !locks.lock("dev", patient()) || !locks.lock("other", patient()) || locks.tryLock("dev") {
		t.Error("each should be locked once")
	}
	locks.unlock("other")
	if !locks.tryLock("other") || locks.lock("dev", &waitBudget{time.Millisecond}) {
		t.Error("other should be free, and dev locked")
	}
	locks.unlock("dev")
	locks.unlock("other")
	locks.checkFree(t)
}

// However many devices a list needs, it waits for all of them no longer than the lock wait. A wait
// for each needs at least half as much again, so one attempt that the machine has not delayed is
// enough.
func TestLockAllSpendsOneBudget(t *testing.T) {
	const wait, attempts = 400 * time.Millisecond, 20
	for range attempts {
		var locks deviceLocks
		locks.tryLock("a")
		locks.tryLock("b")
		start := time.Now()
		time.AfterFunc(wait/2, func() { locks.unlock("a") })
		unlock, late := locks.lockAll([]string{"c", "b", "a"}, &waitBudget{wait})
		took := time.Since(start)
		if unlock != nil || took < wait {
			t.Fatalf("it waited %v, for %q last", took, late)
		}
		eventually(t, func() bool {
			locks.queue.mu.Lock()
			defer locks.queue.mu.Unlock()
			return len(locks.held) == 1
		})
		if late == "b" && took < wait*3/2 {
			return
		}
	}
	t.Error("it never timed out in time")
}

// Waiting for the device and then for the leader is one wait. See TestLockAllSpendsOneBudget.
func TestWriteSpendsOneBudgetOnDeviceAndTurn(t *testing.T) {
	const wait, attempts = 400 * time.Millisecond, 20
	for range attempts {
		store := newStore(t, WithLockWait(wait))
		release := holdLead(t, store)
		store.locks.tryLock("dev")
		start := time.Now()
		time.AfterFunc(wait/2, func() { store.locks.unlock("dev") })
		err := store.RemoveDevice(ctx, "dev")
		took := time.Since(start)
		wantError(t, err, ErrTimeout)
		eventually(t, func() bool { return store.locks.tryLock("dev") })
		store.locks.unlock("dev")
		release()
		if took < wait {
			t.Fatalf("it waited %v", took)
		}
		if strings.Contains(fmt.Sprint(err), "the writes of other goroutines") && took < wait*3/2 {
			return
		}
	}
	t.Error("it never timed out in time")
}

func TestApplyWaitsForLockedDevices(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "a"})
	add(t, store, DeviceInfo{Name: "b"})
	u, err := store.BeginUpdate("b")
	ok(t, err)
	list := []Change{
		changing(ChangeRemove, &Record{DeviceInfo: DeviceInfo{Name: "b"}}),
		changing(ChangeState, &Record{DeviceInfo: DeviceInfo{Name: "a", State: Created}}),
		changing(ChangeState, &Record{DeviceInfo: DeviceInfo{Name: "a", State: Activated}}),
	}
	store.lockWait = 100 * time.Millisecond
	err = store.Apply(list)
	wantError(t, err, ErrTimeout)
	store.lockWait = patience
	if text := fmt.Sprint(err); !strings.Contains(text, `"b"`) || !strings.Contains(text, "100ms") {
		t.Errorf("the message does not name the device and the wait: %v", err)
	}
	checkWritable(t, store, "a")
	ended := startLockWaiter(t, store, func() error { return store.Apply(list) })
	if waiting := stats(t, store).WritersWaiting; waiting != 1 {
		t.Errorf("%d writers wait", waiting)
	}
	u.Info.Size = 9
	ok(t, u.Commit())
	ok(t, ended())
	names, err := store.GetDeviceNames(ctx)
	ok(t, err)
	if len(names) != 1 || names[0] != "a" {
		t.Errorf("%q are left", names)
	}
	store.locks.checkFree(t)
}

// An update that waited for its device has a whole lock wait left for its write.
func TestUpdateHasNewBudgetAfterCallback(t *testing.T) {
	const wait, attempts = 400 * time.Millisecond, 20
	for range attempts {
		store := newStore(t, WithLockWait(wait))
		add(t, store, DeviceInfo{Name: "dev"})
		store.locks.tryLock("dev")
		time.AfterFunc(wait*3/4, func() { store.locks.unlock("dev") })
		var release func()
		err := store.UpdateDevice(ctx, "dev", func(*DeviceInfo) error {
			release = holdLead(t, store)
			time.AfterFunc(wait/2, release)
			return nil
		})
		if err == nil {
			return
		}
		// The machine has delayed one of the timers.
		wantError(t, err, ErrTimeout)
		awaitNoLeader(t, store)
		eventually(t, func() bool { return store.locks.tryLock("dev") })
		store.locks.unlock("dev")
	}
	t.Error("the update timed out in each attempt")
}

// Between two writes no call runs, and a wait that ends just then has waited for the disk all the
// same.
func TestWaitThatEndsBetweenTwoWritesBeginsAnew(t *testing.T) {
	queue := writeQueue{led: true}
	next := newWaiter[changeList]()
	queue.queue.push(next)
	queue.handOver()
	if calling := queue.calling.Load(); calling != 1 {
		t.Errorf("%d call once the lead was handed over", calling)
	}
	if result := <-next.result; result != granted {
		t.Errorf("result %v", result)
	}
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	budget := waitBudget{time.Minute}
	if !store.locks.lock("dev", &budget) {
		t.Fatal("the device is locked")
	}
	if !store.locks.queue.patient("dev") {
		t.Error("a wait behind a write does not begin anew")
	}
	store.locks.unlock("dev")
	update, err := store.BeginUpdate("dev")
	ok(t, err)
	if store.locks.queue.patient("dev") {
		t.Error("a wait behind an open update begins anew")
	}
	ok(t, update.Commit())
}
