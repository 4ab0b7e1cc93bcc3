package poolmetadata

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestUpdateWritesChangedRecord(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "dev", ParentName: "base", Size: 3, State: Activated,
		Error: "old"})
	calls := 0
	ok(t, store.UpdateDevice(ctx, "dev", func(got *DeviceInfo) error {
		calls++
		if *got != info {
			t.Errorf("the callback got %+v", *got)
		}
		got.ParentName, got.Size, got.State = "other parent", 6, Created
		got.Error = strings.Repeat("long ", 9999)
		info = *got
		return nil
	}))
	if calls != 1 {
		t.Errorf("the callback was called %d times", calls)
	}
	expect(t, store, info)
	// The record is now too large for the first buffer.
	ok(t, store.UpdateDevice(ctx, "dev", func(got *DeviceInfo) error {
		if *got != info {
			t.Errorf("the callback got %.200v", *got)
		}
		got.ParentName, got.Error = "", ""
		info = *got
		return nil
	}))
	expect(t, store, info)
}

type oddError struct{ text string }

func (e *oddError) Error() string { return e.text }

// UpdateDevice returns the callback's error value itself, and nothing is written.
func TestUpdateReturnsTheCallbacksError(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "dev"})
	for _, mine := range []error{&oddError{"mine"}, ErrNotFound, ErrAlreadyExists, ErrClosed,
		errors.New("plain")} {
		err := store.UpdateDevice(ctx, "dev", func(got *DeviceInfo) error {
			got.Size, got.Error = 1, "not to be seen"
			return mine
		})
		if err != mine {
			t.Errorf("%v came back as %v", mine, err)
		}
	}
	expect(t, store, info)
	checkWritable(t, store, "dev")
}

func TestUpdateMayNotChangeIdentity(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "before"})
	err := store.UpdateDevice(ctx, "before", func(got *DeviceInfo) error {
		got.Name, got.State = "after", Created
		return nil
	})
	wantError(t, err, ErrIdentityChanged)
	if text := fmt.Sprint(err); !strings.Contains(text, `"before"`) ||
		!strings.Contains(text, `"after"`) {
		t.Errorf("the message does not name both: %v", err)
	}
	err = store.UpdateDevice(ctx, "before", func(got *DeviceInfo) error {
		got.DeviceID = 4711
		return nil
	})
	wantError(t, err, ErrIdentityChanged)
	if text := fmt.Sprint(err); !strings.Contains(text, "1 became 4711") {
		t.Errorf("the message does not name both: %v", err)
	}
	expect(t, store, info)
}

func TestUpdateRefusesBadRecords(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "dev", ParentName: "p"})
	for want, change := range map[error]func(*DeviceInfo){
		ErrTooLong:      func(d *DeviceInfo) { d.Error = strings.Repeat("e", MaxErrorLen+1) },
		ErrInvalidState: func(d *DeviceInfo) { d.State = Faulty + 1 },
	} {
		wantError(t, store.UpdateDevice(ctx, "dev", func(d *DeviceInfo) error { change(d); return nil }),
			want)
	}
	wantError(t, store.UpdateDevice(ctx, "dev", nil), ErrInvalidArgument)
	expect(t, store, info)
	checkWritable(t, store, "dev")
}

// checkWritable writes a device, and another one, in another goroutine. A lock that was left would
// prevent that.
func checkWritable(t testing.TB, store *PoolMetadata, name string) {
	t.Helper()
	within(t, func() {
		if err := store.ChangeDeviceState(ctx, name, Suspended); err != nil {
			t.Error(err)
		}
		other := DeviceInfo{Name: name + " and another"}
		if err := errors.Join(store.AddDevice(ctx, &other),
			store.RemoveDevice(ctx, other.Name)); err != nil {
			t.Error(err)
		}
	})
}

func TestPanicInUpdateReachesCaller(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "dev"})
	value := &oddError{"thrown"}
	func() {
		defer func() {
			if got := recover(); got != any(value) {
				t.Errorf("recovered %v, which is not what was thrown", got)
			}
		}()
		_ = store.UpdateDevice(ctx, "dev", func(got *DeviceInfo) error {
			got.Size = 99
			panic(value)
		})
		t.Error("the panic was swallowed")
	}()
	expect(t, store, info)
	checkWritable(t, store, "dev")
}

// A panic of the runtime has a stack that shows the callback.
func TestRuntimePanicInUpdateKeepsItsStack(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	func() {
		defer func() {
			if _, isRuntime := recover().(runtime.Error); !isRuntime {
				t.Error("not the panic of the runtime")
			}
			stack := make([]byte, 1<<16)
			if stack = stack[:runtime.Stack(stack, false)]; !strings.Contains(string(stack), "stumble") {
				t.Errorf("the stack has lost the callback:\n%s", stack)
			}
		}()
		_ = store.UpdateDevice(ctx, "dev", stumble)
	}()
	checkWritable(t, store, "dev")
}

//go:noinline
func stumble(*DeviceInfo) error {
	var nothing *DeviceInfo
	nothing.Size = 1
	return nil
}

// t.FailNow in a callback calls Goexit.
func TestGoexitInUpdateAbortsIt(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "dev"})
	returned := false
	within(t, func() {
		_ = store.UpdateDevice(ctx, "dev", func(got *DeviceInfo) error {
			got.Size = 99
			new(testing.T).FailNow()
			return nil
		})
		returned = true
	})
	if returned {
		t.Error("the goroutine went on")
	}
	expect(t, store, info)
	checkWritable(t, store, "dev")
	ok(t, store.Close())
}

// A callback may read everything and write other devices; a write of its own device times out.
func TestCallsInsideUpdateCallback(t *testing.T) {
	const wait = 150 * time.Millisecond
	store := newStore(t, WithLockWait(wait))
	add(t, store, DeviceInfo{Name: "dev", Size: 1})
	add(t, store, DeviceInfo{Name: "other"})
	within(t, func() {
		err := store.UpdateDevice(ctx, "dev", func(info *DeviceInfo) error {
			if seen, err := store.GetDevice(ctx, "dev"); err != nil || seen.Size != 1 {
				t.Errorf("%v, %v", seen, err)
			}
			if err := store.UpdateDevice(ctx, "other",
				func(d *DeviceInfo) error { d.Size = 5; return nil }); err != nil {
				t.Error(err)
			}
			start := time.Now()
			wantError(t, store.RemoveDevice(ctx, "dev"), ErrTimeout)
			if took := time.Since(start); took < wait || took >= DefaultLockWait {
				t.Errorf("the nested write timed out after %v", took)
			}
			wantError(t, store.UpdateDevice(ctx, "dev", func(*DeviceInfo) error { return nil }), ErrTimeout)
			info.Size = 2
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	for name, want := range map[string]uint64{"dev": 2, "other": 5} {
		if info, err := store.GetDevice(ctx, name); err != nil || info.Size != want {
			t.Errorf("%v, %v", info, err)
		}
	}
}

func TestTwoStepUpdate(t *testing.T) {
	store := newStore(t, WithLockWait(100*time.Millisecond))
	add(t, store, DeviceInfo{Name: "dev"})
	u, err := store.BeginUpdate("dev")
	ok(t, err)
	wantError(t, store.MarkFaulty(ctx, "dev"), ErrTimeout)
	_, err = store.BeginUpdate("dev")
	wantError(t, err, ErrTimeout)
	before := u.Generation
	u.Info.Size, u.Info.Error = 7, "text"
	ok(t, u.Commit())
	wantError(t, u.Commit(), ErrInvalidArgument)
	u.Abort()
	record, err := store.GetRecord("dev")
	ok(t, err)
	if record.Size != 7 || record.Error != "text" || record.Generation <= before {
		t.Errorf("%+v", record)
	}

	u, err = store.BeginUpdate("dev")
	ok(t, err)
	u.Info.Size = 8
	u.Abort()
	u.Abort()
	wantError(t, u.Commit(), ErrInvalidArgument)
	expect(t, store, record.DeviceInfo)

	u, err = store.BeginUpdate("dev")
	ok(t, err)
	u.Info.State = -5
	wantError(t, u.Commit(), ErrInvalidState)
	checkWritable(t, store, "dev")
}

func TestForgottenUpdateIsAborted(t *testing.T) {
	store := newStore(t, WithLockWait(20*time.Millisecond))
	info := add(t, store, DeviceInfo{Name: "dev"})
	func() {
		u, err := store.BeginUpdate("dev")
		ok(t, err)
		u.Info.Size = 1
	}()
	eventually(t, func() bool { return store.ChangeDeviceState(ctx, "dev", Unknown) == nil })
	expect(t, store, info)
}
