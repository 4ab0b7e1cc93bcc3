package poolmetadata

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestAddAndGet(t *testing.T) {
	store := newStore(t)
	want := add(t, store, DeviceInfo{
		Name: "snap", ParentName: "base", Size: 1<<64 - 1, State: Activated, Error: "no space", DeviceID: 77,
	})
	if want.DeviceID != 1 {
		t.Errorf("the first device got the id %d", want.DeviceID)
	}
	expect(t, store, want)
}

func TestGetOfNothing(t *testing.T) {
	store := newStore(t)
	for _, name := range []string{"", "absent", "with\x00NUL", strings.Repeat("n", 512), strings.Repeat("n", 1<<20)} {
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

// Everything that wants a device says in the same way that there is none.
func TestAbsentDevice(t *testing.T) {
	store := newStore(t)
	_, begun := store.BeginUpdate("absent")
	for what, err := range map[string]error{
		"update": store.UpdateDevice(ctx, "absent", func(*DeviceInfo) error { panic("called for nothing") }),
		"begin":  begun,
		"state":  store.ChangeDeviceState(ctx, "absent", Created),
		"faulty": store.MarkFaulty(ctx, "absent"),
		"remove": store.RemoveDevice(ctx, "absent"),
	} {
		if err != ErrNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAddTwice(t *testing.T) {
	store := newStore(t)
	first := add(t, store, DeviceInfo{Name: "twin", Size: 1})
	second := DeviceInfo{Name: "twin", ParentName: "other", Size: 2, DeviceID: 5}
	err := store.AddDevice(ctx, &second)
	wantError(t, err, ErrAlreadyExists)
	if begin := `failed to save metadata for device "twin" (parent: "other"): `; !strings.HasPrefix(err.Error(), begin) {
		t.Errorf("the message is not containerd's: %v", err)
	}
	if second.DeviceID != 5 {
		t.Error("a failed add changed the caller's record")
	}
	expect(t, store, first)
	if third := add(t, store, DeviceInfo{Name: "third"}); third.DeviceID != 2 {
		t.Errorf("the failed add used an id up: the next one is %d", third.DeviceID)
	}
}

func TestIDsAreReusedLowestFirst(t *testing.T) {
	store := newStore(t)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}
	for _, name := range names {
		add(t, store, DeviceInfo{Name: name})
	}
	// As decimal strings, 11 would come before 2.
	for _, name := range []string{"k", "b", "i"} {
		ok(t, store.RemoveDevice(ctx, name))
	}
	for _, want := range []uint32{2, 9, 11, 13} {
		if got := add(t, store, DeviceInfo{Name: names[want%12] + "+"}); got.DeviceID != want {
			t.Errorf("got the id %d where %d is the lowest", got.DeviceID, want)
		}
	}
}

func TestFaultyDevice(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "bad", Size: 8, State: Created})
	for range 2 {
		ok(t, store.MarkFaulty(ctx, "bad"))
		info.State = Faulty
		expect(t, store, info)
	}
	again := add(t, store, DeviceInfo{Name: "bad", State: Creating})
	if again.DeviceID == info.DeviceID {
		t.Error("the faulty id was given out again")
	}
	expect(t, store, again)
	stats, err := store.Stats()
	ok(t, err)
	if stats.Devices != 1 || stats.TakenIDs != 1 || stats.FaultyIDs != 1 || stats.FreeIDs != 0 {
		t.Errorf("%+v", stats)
	}
	ok(t, store.MarkFaulty(ctx, "bad"))
	ok(t, store.RemoveDevice(ctx, "bad"))
	if other := add(t, store, DeviceInfo{Name: "other"}); other.DeviceID != again.DeviceID {
		t.Errorf("removing a faulty device did not free its id %d: got %d", again.DeviceID, other.DeviceID)
	}
}

func TestChangeDeviceState(t *testing.T) {
	store := newStore(t)
	info := add(t, store, DeviceInfo{Name: "dev", ParentName: "base", Size: 3, Error: "old"})
	for state := Unknown; state <= Faulty; state++ {
		ok(t, store.ChangeDeviceState(ctx, "dev", state))
		info.State = state
		expect(t, store, info)
	}
	stats, err := store.Stats()
	ok(t, err)
	if stats.FaultyIDs != 0 {
		t.Error("the state alone made the id faulty")
	}
}

// The snapshotter removes faulty devices by way of their states; the id must stay out of use
// meanwhile.
func TestStateOfAFaultyDeviceLeavesItsIDFaulty(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "bad"})
	ok(t, store.MarkFaulty(ctx, "bad"))
	ok(t, store.ChangeDeviceState(ctx, "bad", Removing))
	if stats, err := store.Stats(); err != nil || stats.FaultyIDs != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
	ok(t, store.RemoveDevice(ctx, "bad"))
	if stats, err := store.Stats(); err != nil || stats.FaultyIDs != 0 || stats.FreeIDs != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestRemove(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "gone"})
	kept := add(t, store, DeviceInfo{Name: "kept"})
	ok(t, store.RemoveDevice(ctx, "gone"))
	if _, err := store.GetDevice(ctx, "gone"); err != ErrNotFound {
		t.Error(err)
	}
	expect(t, store, kept)
}

// What is undone is often undone with the context that was cancelled.
func TestContextIsNotLookedAt(t *testing.T) {
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
	//lint:ignore SA1012 callers get this wrong, and it must not matter
	_, err = store.GetDevice(nil, "a")
	wantError(t, err, ErrNotFound)
}

func TestTextsAndLimits(t *testing.T) {
	store := newStore(t)
	long := strings.Repeat("x", MaxNameLen)
	for _, info := range []DeviceInfo{
		{Name: "n"},
		{Name: long, ParentName: long},
		{Name: "\xff\xfe no \x80 UTF-8", ParentName: "\xc3", Error: "\x00 is fine here"},
		{Name: "ünï", Error: strings.Repeat("e", 400)},
		{Name: "long error", Error: strings.Repeat("e", MaxErrorLen)},
	} {
		expect(t, store, add(t, store, info))
	}
	bad := func(info DeviceInfo, want error) {
		t.Helper()
		wantError(t, store.AddDevice(ctx, &info), want)
	}
	bad(DeviceInfo{}, ErrInvalidName)
	bad(DeviceInfo{Name: long + "x"}, ErrInvalidName)
	bad(DeviceInfo{Name: "a\x00b"}, ErrInvalidName)
	bad(DeviceInfo{Name: "a", ParentName: long + "x"}, ErrInvalidName)
	bad(DeviceInfo{Name: "a", ParentName: "\x00"}, ErrInvalidName)
	bad(DeviceInfo{Name: "a", Error: strings.Repeat("e", MaxErrorLen+1)}, ErrTooLong)
	// The last of them is 3 in 32 bits.
	for _, state := range []DeviceState{-1, 14, 1<<32 + 3} {
		bad(DeviceInfo{Name: "a", State: state}, ErrInvalidState)
		wantError(t, store.ChangeDeviceState(ctx, "n", state), ErrInvalidState)
		wantError(t, store.UpdateDevice(ctx, "n", func(info *DeviceInfo) error {
			info.State = state
			return nil
		}), ErrInvalidState)
	}
	wantError(t, store.AddDevice(ctx, nil), ErrInvalidArgument)
	names, err := store.GetDeviceNames(ctx)
	ok(t, err)
	if len(names) != 5 {
		t.Errorf("%d devices, though 5 were allowed", len(names))
	}
}

func TestGenerationGrowsWithEachWrite(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "a"})
	before, err := store.GetRecord("a")
	ok(t, err)
	ok(t, store.ChangeDeviceState(ctx, "a", Created))
	after, err := store.GetRecord("a")
	ok(t, err)
	if after.Generation <= before.Generation || after.State != Created {
		t.Errorf("%+v came after %+v", after, before)
	}
}

func TestStatesHaveContainerdsNames(t *testing.T) {
	for state, want := range map[DeviceState]string{
		-1: "unknown -1", 0: "unknown 0", 1: "Creating", 2: "Created", 3: "Activating", 4: "Activated", 5: "Suspending",
		6: "Suspended", 7: "Resuming", 8: "Resumed", 9: "Deactivating", 10: "Deactivated", 11: "Removing", 12: "Removed",
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

func TestAddErrorIsAnError(t *testing.T) {
	store := newStore(t)
	err := store.AddDevice(ctx, &DeviceInfo{})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeInvalidName || e.Op != "AddDevice" || e.Message == "" {
		t.Errorf("%#v", err)
	}
}
