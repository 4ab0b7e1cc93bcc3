package poolmetadata

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// The tests of the library in Rust and C say what each operation means. The tests here cover what
// the Go package adds: how records cross the boundary, and which errors come back.
func TestRecordsCrossTheBoundaryUnchanged(t *testing.T) {
	store := newStore(t)
	long := strings.Repeat("x", MaxNameLen)
	for i, info := range []DeviceInfo{
		{Name: "n", DeviceID: 77},
		{Name: "all", ParentName: "base", Size: 1<<64 - 1, State: Activated, Error: "no space"},
		{Name: long, ParentName: long},
		{Name: "\xff\xfe no \x80 UTF-8", ParentName: "\xc3", Error: "\x00 is fine here"},
		{Name: "\u00fcn\u00ef", Error: strings.Repeat("e", 400)},
		{Name: "long error", Error: strings.Repeat("e", MaxErrorLen)},
	} {
		info = add(t, store, info)
		if info.DeviceID != uint32(i+1) {
			t.Errorf("device %d has the id %d", i, info.DeviceID)
		}
		expect(t, store, info)
	}
	ok(t, store.ChangeDeviceState(ctx, "all", Suspended))
	record, err := store.GetRecord("all")
	ok(t, err)
	if record.State != Suspended || record.Generation == 0 || record.ParentName != "base" {
		t.Errorf("%+v", record)
	}
	ok(t, store.MarkFaulty(ctx, "all"))
	ok(t, store.RemoveDevice(ctx, "n"))
	names, err := store.GetDeviceNames(ctx)
	ok(t, err)
	if stats := stats(t, store); len(names) != 5 || stats.FaultyIDs != 1 || stats.FreeIDs != 1 {
		t.Errorf("%q, %+v", names, stats)
	}
}

func TestWritesReturnTheLibrarysErrors(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "n"})
	info := DeviceInfo{Name: "n", ParentName: "other", DeviceID: 5}
	err := store.AddDevice(ctx, &info)
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeAlreadyExists || e.Op != "AddDevice" || e.Message == "" {
		t.Errorf("%#v", err)
	}
	begin := `failed to save metadata for device "n" (parent: "other"): `
	if !strings.HasPrefix(err.Error(), begin) {
		t.Errorf("the message is not containerd's: %v", err)
	}
	// As containerd's store shows the record that is there.
	if !strings.Contains(err.Error(), "id 1") || !strings.Contains(err.Error(), "state Unknown") {
		t.Errorf("the record is not in the message: %v", err)
	}
	if info.DeviceID != 5 {
		t.Error("a failed add changed the caller's record")
	}
	_, begun := store.BeginUpdate("absent")
	for what, err := range map[string]error{
		"update": store.UpdateDevice(ctx, "absent",
			func(*DeviceInfo) error { panic("the callback was called") }),
		"begin":  begun,
		"state":  store.ChangeDeviceState(ctx, "absent", Created),
		"faulty": store.MarkFaulty(ctx, "absent"),
		"remove": store.RemoveDevice(ctx, "absent"),
	} {
		if err != ErrNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantError(t, store.AddDevice(ctx, &DeviceInfo{Name: "a\x00b"}), ErrInvalidName)
	wantError(t, store.AddDevice(ctx, nil), ErrInvalidArgument)
	// The last of them is 3 in 32 bits.
	for _, state := range []DeviceState{-1, 14, 1<<32 + 3} {
		wantError(t, store.AddDevice(ctx, &DeviceInfo{Name: "a", State: state}), ErrInvalidState)
		wantError(t, store.ChangeDeviceState(ctx, "n", state), ErrInvalidState)
		wantError(t, store.UpdateDevice(ctx, "n", func(info *DeviceInfo) error {
			info.State = state
			return nil
		}), ErrInvalidState)
	}
}

func TestGetOfAbsentDeviceReturnsEmptyRecord(t *testing.T) {
	store := newStore(t)
	for _, name := range []string{"", "absent", "with\x00NUL", strings.Repeat("n", 512),
		strings.Repeat("n", 1<<20)} {
		info, err := store.GetDevice(ctx, name)
		if err != ErrNotFound {
			t.Errorf("%.20q: %v", name, err)
		}
		if info == nil || *info != (DeviceInfo{}) {
			t.Errorf("%.20q: got %v, where containerd gives an empty record", name, info)
		}
	}
	if _, err := store.GetRecord("absent"); err != ErrNotFound {
		t.Error(err)
	}
}

// The snapshotter rolls back with the context that was cancelled.
func TestCancelledContextIsIgnored(t *testing.T) {
	store := newStore(t)
	over, cancel := context.WithCancel(ctx)
	cancel()
	ok(t, store.AddDevice(over, &DeviceInfo{Name: "a"}))
	ok(t, store.UpdateDevice(over, "a", func(*DeviceInfo) error { return nil }))
	ok(t, store.ChangeDeviceState(over, "a", Created))
	ok(t, store.MarkFaulty(over, "a"))
	ok(t, store.WalkDevices(over, func(*DeviceInfo) error { return nil }))
	_, err := store.GetDevice(over, "a")
	ok(t, err)
	names, err := store.GetDeviceNames(over)
	ok(t, err)
	if len(names) != 1 {
		t.Error(names)
	}
	ok(t, store.RemoveDevice(over, "a"))
	//lint:ignore SA1012 some callers pass nil, and it must not matter
	_, err = store.GetDevice(nil, "a")
	wantError(t, err, ErrNotFound)
}

func TestStatesHaveContainerdsNames(t *testing.T) {
	for state, want := range map[DeviceState]string{
		-1: "unknown -1", 0: "unknown 0", 1: "Creating", 2: "Created", 3: "Activating",
		4: "Activated", 5: "Suspending", 6: "Suspended", 7: "Resuming",
		8: "Resumed", 9: "Deactivating", 10: "Deactivated", 11: "Removing", 12: "Removed",
		13: "Faulty", 14: "unknown 14", 1 << 40: "unknown 1099511627776",
	} {
		if got := state.String(); got != want {
			t.Errorf("state %d is %q, not %q", int(state), got, want)
		}
	}
}

func TestJSONIsContainerds(t *testing.T) {
	info := DeviceInfo{DeviceID: 1, Size: 2, Name: "n", ParentName: "p", State: Created, Error: "e"}
	const want = `{"device_id":1,"size":2,"name":"n","parent_name":"p","state":2,"error":"e"}`
	got, err := json.Marshal(info)
	ok(t, err)
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back DeviceInfo
	if err := json.Unmarshal(got, &back); err != nil || back != info {
		t.Errorf("%+v, %v", back, err)
	}
}
