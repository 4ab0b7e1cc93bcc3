package poolmetadata

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// holdLead takes the place of a leader whose call takes long: writes wait until release is called.
func holdLead(t testing.TB, store *PoolMetadata) (release func()) {
	t.Helper()
	store.queue.queue.mu.Lock()
	defer store.queue.queue.mu.Unlock()
	if store.queue.led {
		t.Fatal("there is a leader")
	}
	store.queue.led = true
	return store.queue.handOver
}

// startWaiters starts writes that have to wait, and returns a function that waits for their errors.
func startWaiters(t testing.TB, store *PoolMetadata, writes ...func() error) func() []error {
	t.Helper()
	errs := make([]error, len(writes))
	var all sync.WaitGroup
	for i, write := range writes {
		all.Add(1)
		go func() {
			defer all.Done()
			errs[i] = write()
		}()
	}
	eventually(t, func() bool { return store.queue.waiting() == len(writes) })
	return func() []error {
		within(t, all.Wait)
		return errs
	}
}

// awaitNoLeader waits until no write is under way.
func awaitNoLeader(t testing.TB, store *PoolMetadata) {
	t.Helper()
	eventually(t, func() bool {
		store.queue.queue.mu.Lock()
		defer store.queue.queue.mu.Unlock()
		return !store.queue.led
	})
}

func TestWaitingWritesShareCommitAndGetOwnResults(t *testing.T) {
	store := newStore(t)
	changed := add(t, store, DeviceInfo{Name: "changed", ParentName: "p", Error: "e"})
	add(t, store, DeviceInfo{Name: "there"})
	add(t, store, DeviceInfo{Name: "odd"})
	add(t, store, DeviceInfo{Name: "gone"})
	before := stats(t, store)
	release := holdLead(t, store)
	added := DeviceInfo{Name: "added", ParentName: "there", Size: 7, State: Created, Error: "text"}
	ended := startWaiters(t, store,
		func() error { return store.AddDevice(ctx, &added) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "there"}) },
		func() error { return store.RemoveDevice(ctx, "absent") },
		func() error { return store.MarkFaulty(ctx, "odd") },
		func() error { return store.RemoveDevice(ctx, "gone") },
		func() error {
			return store.AddDevice(ctx, &DeviceInfo{Name: strings.Repeat("n", MaxNameLen+1)})
		},
		func() error {
			return store.UpdateDevice(ctx, "changed", func(info *DeviceInfo) error {
				info.State, info.ParentName, info.Error = Suspended, "", "other"
				changed = *info
				return nil
			})
		},
	)
	if waiting := stats(t, store).WritersWaiting; waiting != 7 {
		t.Errorf("%d writers wait", waiting)
	}
	release()
	for i, err := range ended() {
		want := []error{nil, ErrAlreadyExists, ErrNotFound, nil, nil, ErrInvalidName, nil}[i]
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("write %d: %v, not %v", i, err, want)
		}
		if want == ErrAlreadyExists && !strings.Contains(fmt.Sprint(err), `"there"`) {
			t.Errorf("the message does not name the device: %v", err)
		}
	}
	after := stats(t, store)
	operations := after.CommitOperations.Sum - before.CommitOperations.Sum
	if after.Commits != before.Commits+1 || operations != 4 {
		t.Errorf("%d commits, for %d operations", after.Commits-before.Commits, operations)
	}
	if added.DeviceID == 0 {
		t.Error("the device has no id")
	}
	expect(t, store, added)
	expect(t, store, changed)
	checkWritable(t, store, "changed")
}

func TestWriteThatTimedOutIsNotMadeLater(t *testing.T) {
	const wait = 100 * time.Millisecond
	store := newStore(t, WithLockWait(wait))
	release := holdLead(t, store)
	ended := make(chan error)
	for _, name := range []string{"first", "last"} {
		go func() {
			start := time.Now()
			err := store.AddDevice(ctx, &DeviceInfo{Name: name})
			text := fmt.Sprint(err)
			if !strings.Contains(text, "100ms") || !strings.Contains(text, strconv.Quote(name)) {
				t.Errorf("the message does not name the device and the wait: %v", err)
			}
			if took := time.Since(start); took < wait {
				t.Errorf("%s timed out after %v", name, took)
			}
			ended <- err
		}()
		time.Sleep(wait / 2)
	}
	for range 2 {
		within(t, func() { wantError(t, <-ended, ErrTimeout) })
	}
	if store.queue.waiting() != 0 {
		t.Error("they still wait")
	}
	release()
	names, err := store.GetDeviceNames(ctx)
	ok(t, err)
	if len(names) != 0 {
		t.Errorf("%q were added", names)
	}
	awaitNoLeader(t, store)
	add(t, store, DeviceInfo{Name: "later"})
	checkWritable(t, store, "later")
}

func TestLongQueueTakesSeveralCalls(t *testing.T) {
	for _, test := range []struct {
		writes, text int
		commits      uint64
	}{
		{writes: maxBatchWrites, commits: 1},
		{writes: maxBatchWrites + 1, commits: 2},
		{writes: 100, text: 100_000, commits: 10},
	} {
		store := newStore(t)
		before := stats(t, store)
		release := holdLead(t, store)
		adds := make([]func() error, test.writes)
		for i := range adds {
			info := DeviceInfo{Name: fmt.Sprint(i), Error: strings.Repeat("e", test.text)}
			adds[i] = func() error { return store.AddDevice(ctx, &info) }
		}
		ended := startWaiters(t, store, adds...)
		release()
		for _, err := range ended() {
			ok(t, err)
		}
		after := stats(t, store)
		commits := after.Commits - before.Commits
		if commits != test.commits || after.Devices != uint64(test.writes) {
			t.Errorf("%+v: %d commits, %d devices", test, commits, after.Devices)
		}
	}
}

func TestCloseDoesNotWaitForQueuedWrites(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	release := holdLead(t, store)
	ended := startWaiters(t, store,
		func() error { return store.ChangeDeviceState(ctx, "dev", Created) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "other"}) },
	)
	locked := startLockWaiter(t, store, func() error { return store.MarkFaulty(ctx, "dev") })
	ok(t, store.Close())
	release()
	for _, err := range ended() {
		wantError(t, err, ErrClosed)
	}
	wantError(t, locked(), ErrClosed)
}

// How many fewer commits than writes there are depends on the scheduler too, and where a commit
// takes no time, goroutines do not meet by chance: so they begin together, several times.
func TestGoroutinesShareCommits(t *testing.T) {
	const goroutines, each, attempts = 64, 20, 20
	least := uint64(goroutines * each)
	for range attempts {
		least = min(least, commitsOfGoroutines(t, goroutines, each))
		if least <= goroutines*each/2 {
			return
		}
	}
	t.Errorf("%d commits at the least for %d writes", least, goroutines*each)
}

// commitsOfGoroutines returns how many commits the writes of that many goroutines took.
func commitsOfGoroutines(t *testing.T, goroutines, each int) uint64 {
	t.Helper()
	store := newStore(t)
	before := stats(t, store)
	release := holdLead(t, store)
	adds := make([]func() error, goroutines)
	for i := range adds {
		adds[i] = func() (err error) {
			for n := range each {
				err = errors.Join(err, store.AddDevice(ctx, &DeviceInfo{Name: fmt.Sprint(i, " ", n)}))
			}
			return err
		}
	}
	ended := startWaiters(t, store, adds...)
	release()
	for _, err := range ended() {
		ok(t, err)
	}
	after := stats(t, store)
	writes := uint64(goroutines * each)
	commits := after.Commits - before.Commits
	made := after.CommitOperations.Sum
	// The first writes of all goroutines waited together.
	if after.Devices != writes || made != writes || commits > writes-uint64(goroutines)+1 {
		t.Errorf("%d commits, %+v", commits, after)
	}
	return commits
}

func TestFollowerCountsAsWaitingUntilItsWriteIsDone(t *testing.T) {
	store := newStore(t)
	q := &store.queue
	release := holdLead(t, store)
	ended := startWaiters(t, store,
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "a"}) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "b"}) })
	q.queue.mu.Lock()
	taken := q.takeFollowers(0)
	q.queue.mu.Unlock()
	if waiting := stats(t, store).WritersWaiting; waiting != 2 {
		t.Errorf("%d writers wait", waiting)
	}
	for w := taken.first; w != nil; w = w.next {
		w.value.applyEach(store.handle)
	}
	release()
	if q.waiting() != 0 {
		t.Errorf("%d writers still wait", q.waiting())
	}
	for taken.count > 0 {
		taken.pop().result <- served
	}
	for _, err := range ended() {
		ok(t, err)
	}
}

func TestGroupCommitDelayEndsWhileWritesArrive(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	q := writeQueue{lastFollowers: maxBatchWrites - 1, lastTook: time.Hour, led: true}
	stop := make(chan struct{})
	var slow sync.WaitGroup
	slow.Add(1)
	go func() {
		defer slow.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for start := time.Now(); time.Since(start) < 2*time.Millisecond; {
			}
			q.queue.mu.Lock()
			q.queue.push(newWaiter[changeList]())
			q.queue.mu.Unlock()
			runtime.Gosched()
		}
	}()
	q.queue.mu.Lock()
	taken := q.takeFollowers(0)
	q.queue.mu.Unlock()
	close(stop)
	slow.Wait()
	if taken.count > maxBatchWrites/4 {
		t.Errorf("it waited until %d had come", taken.count)
	}
}

func TestQueueFreesMemoryOfLongTexts(t *testing.T) {
	store := newStore(t)
	release := holdLead(t, store)
	adds := make([]func() error, 12)
	for i := range adds {
		info := DeviceInfo{Name: fmt.Sprint(i), Error: strings.Repeat("e", MaxErrorLen/16)}
		adds[i] = func() error { return store.AddDevice(ctx, &info) }
	}
	ended := startWaiters(t, store, adds...)
	release()
	for _, err := range ended() {
		ok(t, err)
	}
	awaitNoLeader(t, store)
	if size := cap(store.queue.batch.texts); size > 1<<16 {
		t.Errorf("%d bytes are kept", size)
	}
}

func TestChangesWithoutReportFail(t *testing.T) {
	var list changeList
	list.add(ChangeRemove, &DeviceInfo{Name: "dev"}, 0)
	list.add(ChangeAdd, &DeviceInfo{Name: "other"}, 0)
	// The library refuses the whole list, since there is no store.
	list.applyEach(0)
	for i, change := range list.changes {
		err := failure(change.status, change.detail, "op", "doing")
		if !errors.Is(err, ErrInternal) || !strings.Contains(err.Error(), "has not reported") {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// The timer that was set for writes that waited does not keep the store in memory.
func TestForgottenStoreWithTimerIsClosed(t *testing.T) {
	path := newPath(t)
	func() {
		store, err := Open(path, WithLockWait(time.Hour))
		ok(t, err)
		release := holdLead(t, store)
		ended := startWaiters(t, store, func() error {
			return store.AddDevice(ctx, &DeviceInfo{Name: "dev"})
		})
		release()
		ok(t, ended()[0])
	}()
	eventually(t, func() bool {
		store, err := Open(path)
		if err != nil {
			wantError(t, err, ErrAlreadyOpen)
			return false
		}
		ok(t, store.Close())
		return true
	})
}

// A disk that stalls keeps the leader in the library for far longer than the lock wait. The writes
// behind it have no reason to fail: they would wait for the same disk.
func TestWritesBehindCallThatStallsDoNotTimeOut(t *testing.T) {
	const wait, stall = 50 * time.Millisecond, 600 * time.Millisecond
	store := newStore(t, WithLockWait(wait))
	add(t, store, DeviceInfo{Name: "dev"})
	add(t, store, DeviceInfo{Name: "open"})
	update, err := store.BeginUpdate("open")
	ok(t, err)
	release := holdLead(t, store)
	store.queue.calling.Add(1)
	ended := make(chan error)
	// The first waits for its turn, and the others for the device.
	for i := range 4 {
		go func() { ended <- store.ChangeDeviceState(ctx, "dev", DeviceState(i)) }()
	}
	go func() { ended <- store.RemoveDevice(ctx, "absent") }()
	// An update ends when the program wants.
	wantError(t, store.RemoveDevice(ctx, "open"), ErrTimeout)
	time.Sleep(stall)
	select {
	case err := <-ended:
		t.Fatalf("%v: before the call's end", err)
	default:
	}
	release()
	store.queue.calling.Add(-1)
	absent := 0
	for range 5 {
		if err := <-ended; errors.Is(err, ErrNotFound) {
			absent++
		} else {
			ok(t, err)
		}
	}
	if absent != 1 {
		t.Errorf("%d changes of an absent device", absent)
	}
	ok(t, update.Commit())
	checkWritable(t, store, "dev")
}
