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

// holdLead keeps writes in line until what it returns is called, as a leader does whose call takes long.
func holdLead(t testing.TB, store *PoolMetadata) (release func()) {
	t.Helper()
	store.queue.mu.Lock()
	defer store.queue.mu.Unlock()
	if store.queue.led {
		t.Fatal("somebody leads")
	}
	store.queue.led = true
	return func() { store.queue.pass(0) }
}

// inLine starts writes that have to wait, and returns how each ended once all have.
func inLine(t testing.TB, store *PoolMetadata, writes ...func() error) func() []error {
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

// What waits goes into one call and one commit, and each is told how its own write ended.
func TestWritesInLineShareACommit(t *testing.T) {
	store := newStore(t)
	changed := add(t, store, DeviceInfo{Name: "changed", ParentName: "p", Error: "e"})
	add(t, store, DeviceInfo{Name: "there"})
	add(t, store, DeviceInfo{Name: "odd"})
	add(t, store, DeviceInfo{Name: "gone"})
	before := stats(t, store)
	release := holdLead(t, store)
	added := DeviceInfo{Name: "added", ParentName: "there", Size: 7, State: Created, Error: "text"}
	ended := inLine(t, store,
		func() error { return store.AddDevice(ctx, &added) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "there"}) },
		func() error { return store.RemoveDevice(ctx, "absent") },
		func() error { return store.MarkFaulty(ctx, "odd") },
		func() error { return store.RemoveDevice(ctx, "gone") },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: strings.Repeat("n", MaxNameLen+1)}) },
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
		t.Error("the device has been told no id")
	}
	expect(t, store, added)
	expect(t, store, changed)
	checkWritable(t, store, "changed")
}

// Who waits for longer than the lock wait is withdrawn, and what it wanted is not done later.
func TestWaitingInLineHasAnEnd(t *testing.T) {
	const wait = 100 * time.Millisecond
	store := newStore(t, WithLockWait(wait))
	release := holdLead(t, store)
	ended := make(chan error)
	for _, name := range []string{"first", "last"} {
		go func() {
			start := time.Now()
			err := store.AddDevice(ctx, &DeviceInfo{Name: name})
			if text := fmt.Sprint(err); !strings.Contains(text, "100ms") || !strings.Contains(text, strconv.Quote(name)) {
				t.Errorf("the message is not of use: %v", err)
			}
			if took := time.Since(start); took < wait {
				t.Errorf("%s gave up after %v", name, took)
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
		t.Errorf("%q were added all the same", names)
	}
	checkNotAlarmed(t, store)
	add(t, store, DeviceInfo{Name: "later"})
	checkWritable(t, store, "later")
}

func checkNotAlarmed(t testing.TB, store *PoolMetadata) {
	t.Helper()
	eventually(t, func() bool {
		store.queue.mu.Lock()
		defer store.queue.mu.Unlock()
		return !store.queue.alarmed && !store.queue.led
	})
}

// One call takes so many writes, and so many bytes, and leaves the rest to the next.
func TestALongLineTakesSeveralCalls(t *testing.T) {
	for _, test := range []struct {
		writes, text int
		commits      uint64
	}{
		{writes: mostWrites, commits: 1},
		{writes: mostWrites + 1, commits: 2},
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
		ended := inLine(t, store, adds...)
		release()
		for _, err := range ended() {
			ok(t, err)
		}
		after := stats(t, store)
		if commits := after.Commits - before.Commits; commits != test.commits || after.Devices != uint64(test.writes) {
			t.Errorf("%+v: %d commits, %d devices", test, commits, after.Devices)
		}
	}
}

// Close does not wait for who has not had its turn: it is told that the store is closed.
func TestCloseWithWritesInLine(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	release := holdLead(t, store)
	ended := inLine(t, store,
		func() error { return store.ChangeDeviceState(ctx, "dev", Created) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "other"}) },
	)
	locked := waitsForDevice(t, store, func() error { return store.MarkFaulty(ctx, "dev") })
	ok(t, store.Close())
	release()
	for _, err := range ended() {
		wantError(t, err, ErrClosed)
	}
	wantError(t, locked(), ErrClosed)
}

// Sixty-four goroutines meet: nobody's write is lost, and fewer commits than writes. How many fewer is also the
// scheduler's affair, and where a commit takes no time nobody meets by chance: so they begin together, several times.
func TestGoroutinesShareCommits(t *testing.T) {
	const goroutines, each, attempts = 64, 20, 20
	least := uint64(goroutines * each)
	for range attempts {
		if least = min(least, commitsOfAMeeting(t, goroutines, each)); least <= goroutines*each/2 {
			return
		}
	}
	t.Errorf("%d commits at the least for %d writes", least, goroutines*each)
}

// commitsOfAMeeting returns how many commits were made for the writes of that many goroutines.
func commitsOfAMeeting(t *testing.T, goroutines, each int) uint64 {
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
	ended := inLine(t, store, adds...)
	release()
	for _, err := range ended() {
		ok(t, err)
	}
	after := stats(t, store)
	writes := uint64(goroutines * each)
	commits := after.Commits - before.Commits
	// The first writes of all waited in one line.
	if after.Devices != writes || after.CommitOperations.Sum != writes || commits > writes-uint64(goroutines)+1 {
		t.Errorf("%d commits, %+v", commits, after)
	}
	return commits
}

// They wait until their writes are done, and not only until somebody does them.
func TestWhoseWriteIsUnderWayStillWaits(t *testing.T) {
	store := newStore(t)
	q := &store.queue
	release := holdLead(t, store)
	ended := inLine(t, store,
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "a"}) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "b"}) })
	q.mu.Lock()
	taken := q.take(0)
	q.mu.Unlock()
	if waiting := stats(t, store).WritersWaiting; waiting != 2 {
		t.Errorf("%d writers wait", waiting)
	}
	release()
	if q.waiting() != 0 {
		t.Errorf("%d writers still wait", q.waiting())
	}
	for taken.count > 0 {
		taken.pop().told <- done
	}
	for _, err := range ended() {
		ok(t, err)
	}
}

// Who leads lets others come for a moment, and not for as long as there are any.
func TestGatheringHasAnEnd(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	q := writeQueue{wait: time.Hour, last: mostWrites - 1, took: time.Hour, led: true}
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
			q.mu.Lock()
			q.enter(newWrite(ChangeRemove, DeviceInfo{}))
			q.mu.Unlock()
			runtime.Gosched()
		}
	}()
	q.mu.Lock()
	taken := q.take(0)
	q.mu.Unlock()
	close(stop)
	slow.Wait()
	if taken.count > mostWrites/4 {
		t.Errorf("it waited until %d had come", taken.count)
	}
	// None is set if the scheduler has let nobody come at all.
	if q.alarm != nil {
		q.alarm.Stop()
	}
}

// The memory for a call with long texts is not kept.
func TestTheQueueKeepsLittle(t *testing.T) {
	store := newStore(t)
	release := holdLead(t, store)
	adds := make([]func() error, 12)
	for i := range adds {
		info := DeviceInfo{Name: fmt.Sprint(i), Error: strings.Repeat("e", MaxErrorLen/16)}
		adds[i] = func() error { return store.AddDevice(ctx, &info) }
	}
	ended := inLine(t, store, adds...)
	release()
	for _, err := range ended() {
		ok(t, err)
	}
	eventually(t, func() bool {
		store.queue.mu.Lock()
		defer store.queue.mu.Unlock()
		return !store.queue.led
	})
	if size := cap(store.queue.list.texts); size > 1<<16 {
		t.Errorf("%d bytes are kept", size)
	}
}

// A call of which nothing is known has failed.
func TestACallThatWasNotMadeFails(t *testing.T) {
	var list changeList
	list.add(ChangeRemove, &DeviceInfo{Name: "dev"}, 0)
	list.add(ChangeAdd, &DeviceInfo{Name: "other"}, 0)
	list.applyEach(0)
	for i, change := range list.changes {
		err := failure(change.status, change.detail, "op", "doing")
		if !errors.Is(err, ErrInternal) || !strings.Contains(err.Error(), "has not told") {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// An alarm that is set for who waited in line does not keep the store in being.
func TestForgottenStoreWithAnAlarmIsClosed(t *testing.T) {
	path := newPath(t)
	func() {
		store, err := Open(path, WithLockWait(time.Hour))
		ok(t, err)
		release := holdLead(t, store)
		ended := inLine(t, store, func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "dev"}) })
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
