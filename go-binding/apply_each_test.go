package poolmetadata

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestApplyEachReportsEachResult(t *testing.T) {
	store := newStore(t)
	for _, name := range []string{"changed", "stated", "bad", "gone"} {
		add(t, store, DeviceInfo{Name: name, ParentName: "base"})
	}
	changed, err := store.GetRecord("changed")
	ok(t, err)
	stale := changed
	changed.Size, changed.Error = 5, strings.Repeat("e", 3000)
	stated, added, again, badState := named("stated"), named("added"), named("gone"), named("bad")
	stated.State, badState.State = Suspended, 99
	errs := store.ApplyEach([]Change{
		changing(ChangeUpdate, &changed),
		changing(ChangeUpdate, &stale),
		changing(ChangeAdd, named("stated")),
		changing(ChangeState, stated),
		changing(ChangeAdd, nil),
		changing(ChangeRemove, named("gone")),
		changing(ChangeAdd, again),
		changing(ChangeAdd, named("")),
		changing(ChangeState, badState),
		changing(ChangeAdd, added),
		changing(77, named("bad")),
		changing(ChangeMarkFaulty, named("bad")),
		changing(ChangeRemove, named("absent")),
	})
	want := []error{nil, ErrConflict, ErrAlreadyExists, nil, ErrInvalidArgument, nil, nil,
		ErrInvalidName, ErrInvalidState,
		nil, ErrInvalidArgument, nil, ErrNotFound}
	for i, err := range errs {
		if !errors.Is(err, want[i]) || (err == nil) != (want[i] == nil) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if message := errs[1].Error(); !strings.Contains(message, `"changed"`) {
		t.Errorf("the message does not name the device: %s", message)
	}
	if len(errs) != len(want) || again.DeviceID != 4 || added.DeviceID != 5 ||
		changed.Generation <= stale.Generation {
		t.Errorf("%d results, ids %d and %d, generation %d", len(errs), again.DeviceID, added.DeviceID,
			changed.Generation)
	}
	expect(t, store, changed.DeviceInfo)
	expect(t, store, DeviceInfo{Name: "stated", DeviceID: 2, State: Suspended, ParentName: "base"})
	expect(t, store, DeviceInfo{Name: "bad", DeviceID: 3, State: Faulty, ParentName: "base"})
	expect(t, store, DeviceInfo{Name: "gone", DeviceID: 4})
	expect(t, store, DeviceInfo{Name: "added", DeviceID: 5})
	if errs := store.ApplyEach(nil); len(errs) != 0 {
		t.Error(errs)
	}
	ok(t, store.Close())
	late := []Change{changing(ChangeAdd, named("late")), changing(ChangeAdd, nil)}
	for _, err := range store.ApplyEach(late) {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

func TestApplyEachOfMoreThanOneCallTakesMakesFewCommits(t *testing.T) {
	store := newStore(t)
	const many = 3*maxBatchWrites + 5
	var changes []Change
	for i := range many {
		changes = append(changes, changing(ChangeAdd, named(fmt.Sprintf("device-%d", i))))
	}
	// Two changes of one device are made in their order.
	changes = append(changes, changing(ChangeRemove, named("device-7")))
	before, err := store.Stats()
	ok(t, err)
	for i, err := range store.ApplyEach(changes) {
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	stats, err := store.Stats()
	ok(t, err)
	if commits := stats.Commits - before.Commits; stats.Devices != many-1 || commits > 8 {
		t.Errorf("%d devices after %d commits", stats.Devices, commits)
	}
}

func TestApplyEachWaitsOnceForAllLockedDevices(t *testing.T) {
	const wait = 200 * time.Millisecond
	store := newStore(t, WithLockWait(wait))
	for _, name := range []string{"locked", "a", "b"} {
		add(t, store, DeviceInfo{Name: name})
	}
	update, err := store.BeginUpdate("locked")
	ok(t, err)
	changes := []Change{changing(ChangeMarkFaulty, named("a"))}
	for range 100 {
		changes = append(changes, changing(ChangeMarkFaulty, named("locked")))
	}
	changes = append(changes, changing(ChangeMarkFaulty, named("b")))
	start := time.Now()
	for i, err := range store.ApplyEach(changes) {
		if locked := i > 0 && i < len(changes)-1; errors.Is(err, ErrTimeout) != locked ||
			(err != nil) != locked {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if took := time.Since(start); took < wait || took > 50*wait {
		t.Errorf("it took %v", took)
	}
	expect(t, store, DeviceInfo{Name: "b", DeviceID: 3, State: Faulty})

	// The update ends while ApplyEach waits: the change is made then, after those that need not
	// wait.
	go func() {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			if info, err := store.GetDevice(ctx, "a"); errors.Is(err, ErrNotFound) || info.State == Unknown {
				break
			}
		}
		update.Abort()
	}()
	for attempt := 0; ; attempt++ {
		errs := store.ApplyEach([]Change{
			changing(ChangeRemove, named("locked")), changing(ChangeRemove, named("a")),
		})
		if errs[0] == nil {
			break
		}
		if !errors.Is(errs[0], ErrTimeout) || attempt > 100 {
			t.Fatal(errs)
		}
	}
	if _, err := store.GetDevice(ctx, "locked"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// A list that needs a larger map times out a few times while a walk keeps the map from growing, and
// not in each call of the library, nor for each locked device. A wait for each of them needs at
// least the lock wait that many times, so one attempt that the machine has not delayed is enough.
func TestApplyEachWithFullMapTimesOutFewTimes(t *testing.T) {
	const wait, calls, attempts = time.Second, 24, 10
	for range attempts {
		took := applyWithAFullMap(t, wait, calls)
		if took < wait {
			t.Fatalf("it took %v", took)
		}
		if took <= calls*wait*3/4 {
			return
		}
	}
	t.Error("it never ended after a few waits")
}

// applyWithAFullMap applies a list that needs that many calls of the library, and returns how long
// it took.
func applyWithAFullMap(t *testing.T, wait time.Duration, calls int) (took time.Duration) {
	t.Helper()
	store := newStore(t, WithLockWait(wait), WithMapSize(1<<20), WithDurability(DurabilityRelaxed))
	text := strings.Repeat("e", 1500)
	var changes []Change
	var locked []*Update
	for i := range calls {
		device := named(fmt.Sprint("locked-", i))
		add(t, store, DeviceInfo{Name: device.Name, Error: text})
		update, err := store.BeginUpdate(device.Name)
		ok(t, err)
		locked = append(locked, update)
		changes = append(changes, changing(ChangeState, device))
	}
	for i := range calls * maxBatchWrites {
		device := named(fmt.Sprint("new-", i))
		device.Error = text
		changes = append(changes, changing(ChangeAdd, device))
	}
	// More than fit into a page of a walk.
	for i := range 100 {
		add(t, store, DeviceInfo{Name: fmt.Sprint("there-", i), Error: text})
	}
	time.AfterFunc(wait, func() {
		for _, update := range locked {
			update.Abort()
		}
	})
	var errs []error
	start := time.Now()
	for _, err := range store.Devices() {
		ok(t, err)
		errs = store.ApplyEach(changes)
		break
	}
	took = time.Since(start)
	late := 0
	for i, err := range errs {
		if errors.Is(err, ErrTimeout) {
			late++
		} else if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
	if late == 0 || late == len(changes) {
		t.Errorf("%d of %d changes were not made in time", late, len(changes))
	}
	return took
}

// A change of a locked device that times out for a larger map does not prevent those after it.
func TestApplyEachOfLockedDevicesWithFullMapMakesOtherChanges(t *testing.T) {
	const wait = time.Second
	store := newStore(t, WithLockWait(wait), WithMapSize(1<<20))
	for i := range 100 {
		// More than fit into a page of a walk.
		add(t, store, DeviceInfo{Name: fmt.Sprint("there-", i), Error: strings.Repeat("e", 1500)})
	}
	var changes []Change
	for i := range 3 {
		name := fmt.Sprint("there-", i)
		update, err := store.BeginUpdate(name)
		ok(t, err)
		defer time.AfterFunc(wait/5, update.Abort).Stop()
		changes = append(changes, changing(ChangeAdd, named(name)))
	}
	large, err := store.GetRecord("there-0")
	ok(t, err)
	large.Error = strings.Repeat("e", MaxErrorLen)
	changes[0] = changing(ChangeUpdate, &large)
	var errs []error
	for _, err := range store.Devices() {
		ok(t, err)
		errs = store.ApplyEach(changes)
		break
	}
	if !errors.Is(errs[0], ErrTimeout) || !errors.Is(errs[1], ErrAlreadyExists) ||
		!errors.Is(errs[2], ErrAlreadyExists) {
		t.Error(errs)
	}
}
