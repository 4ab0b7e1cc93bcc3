package poolmetadata

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func named(name string) *Record {
	return &Record{DeviceInfo: DeviceInfo{Name: name}}
}

func TestApplyMakesAllChangesInOneCommit(t *testing.T) {
	store := newStore(t)
	for _, name := range []string{"changed", "stated", "bad", "gone"} {
		add(t, store, DeviceInfo{Name: name, ParentName: "base", Error: "old"})
	}
	changed, err := store.GetRecord("changed")
	ok(t, err)
	before := changed.Generation
	changed.Size, changed.ParentName, changed.Error = 5, "", strings.Repeat("e", 3000)
	added := &Record{DeviceInfo: DeviceInfo{Name: "added", ParentName: "p", Size: 7, State: Creating,
		Error: "x"}}
	stated, gone := named("stated"), named("gone")
	stated.State = Suspended
	stats, err := store.Stats()
	ok(t, err)
	commits := stats.Commits
	ok(t, store.Apply([]Change{
		changing(ChangeRemove, gone),
		changing(ChangeAdd, added),
		changing(ChangeUpdate, &changed),
		changing(ChangeState, stated),
		changing(ChangeMarkFaulty, named("bad")),
	}))
	if gone.DeviceID != 4 || added.DeviceID != 4 {
		t.Errorf("the id of what was removed, %d, is not that of what was added then, %d", gone.DeviceID,
			added.DeviceID)
	}
	if changed.Generation <= before || added.Generation != changed.Generation {
		t.Errorf("generations %d and %d after %d", changed.Generation, added.Generation, before)
	}
	expect(t, store, changed.DeviceInfo)
	expect(t, store, added.DeviceInfo)
	expect(t, store, DeviceInfo{Name: "stated", DeviceID: 2, State: Suspended, ParentName: "base",
		Error: "old"})
	expect(t, store, DeviceInfo{Name: "bad", DeviceID: 3, State: Faulty, ParentName: "base",
		Error: "old"})
	stats, err = store.Stats()
	ok(t, err)
	if stats.Commits != commits+1 || stats.Devices != 4 || stats.FaultyIDs != 1 {
		t.Errorf("%+v after commit %d", stats, commits)
	}
	ok(t, store.Apply(nil))
}

func TestApplyNamesRefusedChangeAndMakesNone(t *testing.T) {
	store := newStore(t)
	kept := add(t, store, DeviceInfo{Name: "kept"})
	stale, err := store.GetRecord("kept")
	ok(t, err)
	ok(t, store.ChangeDeviceState(ctx, "kept", Created))
	kept.State = Created
	badState, badKind := named("kept"), named("kept")
	badState.State = 99
	for what, test := range map[string]struct {
		change Change
		want   error
	}{
		"exists": {changing(ChangeAdd, named("kept")), ErrAlreadyExists},
		"absent": {changing(ChangeRemove, named("absent")), ErrNotFound},
		"stale":  {changing(ChangeUpdate, &stale), ErrConflict},
		"state":  {changing(ChangeState, badState), ErrInvalidState},
		"kind":   {changing(77, badKind), ErrInvalidArgument},
		"nil":    {changing(ChangeAdd, nil), ErrInvalidArgument},
	} {
		first := named("first")
		err := store.Apply([]Change{changing(ChangeAdd, first), changing(ChangeRemove, named("kept")),
			changing(ChangeAdd, named("kept")), test.change})
		var refused *ChangeError
		if !errors.As(err, &refused) || refused.Index != 3 || !errors.Is(err, test.want) {
			t.Errorf("%s: %v", what, err)
		}
		if !strings.HasPrefix(fmt.Sprint(err), "change 3: ") {
			t.Errorf("%s: %v", what, err)
		}
		if first.DeviceID != 0 {
			t.Errorf("%s: the caller's record was changed", what)
		}
		expect(t, store, kept)
		if _, err := store.GetDevice(ctx, "first"); err != ErrNotFound {
			t.Errorf("%s: the change before it was made: %v", what, err)
		}
	}
}
