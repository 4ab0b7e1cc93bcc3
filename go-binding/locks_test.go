package poolmetadata

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// waitsForDevice starts something that waits for a device, and returns its error once it has ended.
func waitsForDevice(t testing.TB, store *PoolMetadata, do func() error) func() error {
	t.Helper()
	before := store.locks.waiting()
	result := make(chan error, 1)
	go func() { result <- do() }()
	eventually(t, func() bool { return store.locks.waiting() == before+1 })
	return func() error { return <-result }
}

func TestDevicesAreLockedFirstComeFirstServed(t *testing.T) {
	locks := deviceLocks{wait: time.Minute}
	var (
		all   sync.WaitGroup
		order []int // guarded by the lock
	)
	if !locks.lock("dev") || !locks.lock("other") {
		t.Fatal("they are free")
	}
	locks.unlock("other")
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			if locks.lock("dev") {
				order = append(order, i)
				locks.unlock("dev")
			}
		}()
		eventually(t, func() bool { return locks.waiting() == i+1 })
	}
	locks.unlock("dev")
	within(t, all.Wait)
	if len(order) != 20 || !slices.IsSorted(order) {
		t.Errorf("they had their turns as %v", order)
	}
	if len(locks.held) != 0 || locks.waiting() != 0 {
		t.Errorf("%v is left, %d wait", locks.held, locks.waiting())
	}
}

// Who gives up leaves the line as it was.
func TestWaitingForADeviceHasAnEnd(t *testing.T) {
	const wait = 50 * time.Millisecond
	locks := deviceLocks{wait: wait}
	locks.lock("dev")
	start := time.Now()
	if locks.lock("dev") || time.Since(start) < wait {
		t.Errorf("not locked, and that after %v", time.Since(start))
	}
	if locks.waiting() != 0 {
		t.Error("it still waits")
	}
	locks.unlock("dev")
	if !locks.lock("dev") {
		t.Error("who gave up has it")
	}
}

// Goroutines that give up at the moment when it is their turn, or do not, leave nothing behind.
func TestTurnsAndTimeoutsThatMeet(t *testing.T) {
	locks := deviceLocks{wait: time.Millisecond}
	var all sync.WaitGroup
	inside := 0 // the race detector sees it too if the lock does not hold
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 100 {
				if locks.lock("dev") {
					inside++
					time.Sleep(time.Millisecond / 8)
					locks.unlock("dev")
				}
			}
		}()
	}
	within(t, all.Wait)
	if inside == 0 || len(locks.held) != 0 || locks.waiting() != 0 {
		t.Errorf("%d had it, %v is left, %d wait", inside, locks.held, locks.waiting())
	}
}

// A list waits for the devices that are under update, all of them or none.
func TestApplyWaitsForItsDevices(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "a"})
	add(t, store, DeviceInfo{Name: "b"})
	u, err := store.BeginUpdate("b")
	ok(t, err)
	list := []Change{
		{ChangeRemove, &Record{DeviceInfo: DeviceInfo{Name: "b"}}},
		{ChangeState, &Record{DeviceInfo: DeviceInfo{Name: "a", State: Created}}},
		{ChangeState, &Record{DeviceInfo: DeviceInfo{Name: "a", State: Activated}}},
	}
	store.locks.wait = 100 * time.Millisecond
	err = store.Apply(list)
	wantError(t, err, ErrTimeout)
	store.locks.wait = patience
	if !strings.Contains(fmt.Sprint(err), `"b"`) {
		t.Errorf("the message does not name the device: %v", err)
	}
	checkWritable(t, store, "a")
	ended := waitsForDevice(t, store, func() error { return store.Apply(list) })
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
	if len(store.locks.held) != 0 {
		t.Errorf("%v is left", store.locks.held)
	}
}

// However many of its devices are under update, a list waits for all of them together no longer than the lock wait. Who
// waits for each of them anew never needs less than half as much again, so one attempt that the machine has not held up
// is enough.
func TestApplyWaitsOnceForAllItsDevices(t *testing.T) {
	const wait, attempts = 400 * time.Millisecond, 20
	for range attempts {
		locks := deviceLocks{wait: wait}
		locks.lock("a")
		locks.lock("b")
		start := time.Now()
		time.AfterFunc(wait/2, func() { locks.unlock("a") })
		unlock, late := locks.lockAll([]string{"c", "b", "a"})
		took := time.Since(start)
		if unlock != nil || took < wait {
			t.Fatalf("it waited %v, for %q last", took, late)
		}
		eventually(t, func() bool {
			locks.mu.Lock()
			defer locks.mu.Unlock()
			return len(locks.held) == 1
		})
		if late == "b" && took < wait*3/2 {
			return
		}
	}
	t.Error("it never gave up in time")
}
