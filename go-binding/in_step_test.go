package poolmetadata

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// assorted fills a store with devices a (id 1, faulty), b (2), c (4); 3 and 6 are free, and 5 is
// faulty without a device.
func assorted(t *testing.T) *PoolMetadata {
	t.Helper()
	store := newStore(t)
	for _, name := range []string{"a", "b", "gone", "c", "e"} {
		add(t, store, DeviceInfo{Name: name, ParentName: "base", State: Created})
	}
	ok(t, store.MarkFaulty(ctx, "e"))
	add(t, store, DeviceInfo{Name: "e"})
	ok(t, store.RemoveDevice(ctx, "gone"))
	ok(t, store.RemoveDevice(ctx, "e"))
	ok(t, store.MarkFaulty(ctx, "a"))
	return store
}

func TestListIDsShowsStatesAndOwners(t *testing.T) {
	store := assorted(t)
	all := []IDInfo{{1, IDFaulty, "a"}, {2, IDTaken, "b"}, {3, IDFree, ""}, {4, IDTaken, "c"},
		{5, IDFaulty, ""}, {6, IDFree, ""}}
	for _, states := range [][]IDState{{}, {IDFree}, {IDFaulty}, {IDTaken, IDFree}} {
		want := slices.DeleteFunc(slices.Clone(all), func(id IDInfo) bool {
			return len(states) > 0 && !slices.Contains(states, id.State)
		})
		found, err := store.ListIDs(states...)
		ok(t, err)
		if !slices.Equal(found, want) {
			t.Errorf("%v: %v", states, found)
		}
	}
	_, err := store.ListIDs(3)
	wantError(t, err, ErrInvalidArgument)
	_, err = store.ListIDs(-1)
	wantError(t, err, ErrInvalidArgument)
}

func TestGetDeviceByIDFindsItsDevice(t *testing.T) {
	store := assorted(t)
	device, err := store.GetDeviceByID(4)
	ok(t, err)
	if device.Name != "c" || device.DeviceID != 4 {
		t.Errorf("%+v", device)
	}
	for _, id := range []uint32{0, 3, 5, 99} {
		_, err := store.GetDeviceByID(id)
		wantError(t, err, ErrNotFound)
	}
}

func TestFaultyIDsAreFreed(t *testing.T) {
	store := assorted(t)
	wantError(t, store.FreeID(1), ErrIDInUse)
	wantError(t, store.FreeID(2), ErrIDInUse)
	wantError(t, store.FreeID(3), ErrIDNotFaulty)
	wantError(t, store.FreeID(99), ErrIDNotFaulty)
	wantError(t, store.FreeID(1<<24), ErrInvalidArgument)
	ok(t, store.FreeID(5))
	for _, c := range []struct {
		do   func() (int, error)
		want int
	}{
		{func() (int, error) { return store.MarkIDsFaulty([]uint32{2, 3, 8}) }, 2},
		{func() (int, error) { return store.MarkIDsFaulty(nil) }, 0},
		{func() (int, error) { return store.MarkIDsFaultyUpTo(6) }, 2},
		{func() (int, error) { return store.FreeFaultyIDs([]uint32{8, 3}) }, 2},
		{func() (int, error) { return store.FreeFaultyIDs(nil) }, 2},
	} {
		count, err := c.do()
		ok(t, err)
		if count != c.want {
			t.Errorf("%d, not %d", count, c.want)
		}
	}
	_, err := store.MarkIDsFaulty([]uint32{1 << 24})
	wantError(t, err, ErrInvalidArgument)
	ok(t, store.Verify())
}

func TestReplaceDeviceIDAssignsTheNext(t *testing.T) {
	store := assorted(t)
	for refused, want := range map[uint32]uint32{2: 3} {
		id, err := store.ReplaceDeviceID("b", refused)
		ok(t, err)
		if id != want {
			t.Errorf("id %d", id)
		}
	}
	_, err := store.ReplaceDeviceID("b", 2)
	wantError(t, err, ErrConflict)
	_, err = store.ReplaceDeviceID("none", 2)
	wantError(t, err, ErrNotFound)
	list := []Change{
		changing(ChangeReplaceID, &Record{DeviceInfo: DeviceInfo{Name: "c", DeviceID: 4}}),
		changing(ChangeFreeID, &Record{DeviceInfo: DeviceInfo{DeviceID: 4}}),
	}
	ok(t, store.Apply(list))
	if id := list[0].Record.DeviceID; id != 6 {
		t.Errorf("id %d", id)
	}
	ok(t, store.Verify())
}

func TestDevicesWhereSelects(t *testing.T) {
	store := assorted(t)
	base, none := "base", ""
	for _, c := range []struct {
		filter DeviceFilter
		want   []string
	}{
		{DeviceFilter{}, []string{"a", "b", "c"}},
		{DeviceFilter{States: []DeviceState{Faulty}}, []string{"a"}},
		{DeviceFilter{Parent: &base, FirstID: 2}, []string{"b", "c"}},
		{DeviceFilter{Parent: &none}, nil},
		{DeviceFilter{LastID: 2, States: []DeviceState{Created, Removed}}, []string{"b"}},
	} {
		found, err := store.DevicesWhere(c.filter)
		ok(t, err)
		var names []string
		for _, device := range found {
			names = append(names, device.Name)
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("%+v: %v", c.filter, names)
		}
	}
	_, err := store.DevicesWhere(DeviceFilter{States: []DeviceState{99}})
	wantError(t, err, ErrInvalidState)
	children, err := store.Children("base")
	ok(t, err)
	if len(children) != 3 {
		t.Errorf("%v", children)
	}
}

func TestIntentsAreListedUntilFinished(t *testing.T) {
	store := newStore(t)
	var want []Intent
	for i, kind := range []IntentKind{IntentCreate, IntentSnapshot, IntentDelete} {
		intent := Intent{Kind: kind, Name: fmt.Sprint("dev-", i), DeviceID: uint32(i),
			TransactionID: 1<<63 + uint64(i)}
		ok(t, store.BeginIntent(&intent))
		if intent.Number != uint64(i+1) || intent.Commit != uint64(i+1) {
			t.Errorf("%+v", intent)
		}
		want = append(want, intent)
	}
	ok(t, store.FinishIntent(2))
	wantError(t, store.FinishIntent(2), ErrNotFound)
	found, err := store.Intents()
	ok(t, err)
	if want = slices.Delete(want, 1, 2); !slices.Equal(found, want) {
		t.Errorf("%+v", found)
	}
	wantError(t, store.BeginIntent(nil), ErrInvalidArgument)
	wantError(t, store.BeginIntent(&Intent{Kind: 4, Name: "a"}), ErrInvalidArgument)
	wantError(t, store.BeginIntent(&Intent{Kind: IntentCreate}), ErrInvalidName)
	ok(t, store.Close())
	_, err = store.Intents()
	wantError(t, err, ErrClosed)
}

func TestChangesSinceShowsWrittenAndRemoved(t *testing.T) {
	store := assorted(t)
	before, err := store.ChangesSince(0)
	ok(t, err)
	if before.Commit != 10 || !before.Complete || len(before.Written) != 3 ||
		!reflect.DeepEqual(before.Removed, []Removal{{"gone", 3, 8}, {"e", 6, 9}}) {
		t.Errorf("%+v", before)
	}
	ok(t, store.RemoveDevice(ctx, "b"))
	add(t, store, DeviceInfo{Name: "d"})
	after, err := store.ChangesSince(before.Commit)
	ok(t, err)
	if len(after.Written) != 1 || after.Written[0].Name != "d" || after.Commit != 12 ||
		!reflect.DeepEqual(after.Removed, []Removal{{"b", 2, 11}}) {
		t.Errorf("%+v", after)
	}
}

func TestStoreOfAnotherPoolIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool.db")
	open := func(identity string) (*PoolMetadata, error) { return Open(path, WithIdentity(identity)) }
	for _, identity := range []string{"", "pool \x00\xff", "pool \x00\xff"} {
		store, err := open(identity)
		ok(t, err)
		found, err := store.Identity()
		ok(t, err)
		if found != identity {
			t.Errorf("%q", found)
		}
		ok(t, store.Close())
	}
	_, err := open("other")
	wantError(t, err, ErrOtherPool)
	store, err := open("")
	ok(t, err)
	ok(t, store.SetIdentity("other"))
	ok(t, store.Close())
	store, err = open("other")
	ok(t, err)
	ok(t, store.SetIdentity(""))
	ok(t, store.Close())
}

func TestListsChangeIDsAndIntentsAmongDevices(t *testing.T) {
	store := assorted(t) // a is 1 and faulty, b is 2, c is 4; 3 and 6 are free, 5 is faulty
	begun := Intent{Kind: IntentSnapshot, Name: "d", DeviceID: 6, TransactionID: math.MaxUint64}
	added := &Record{DeviceInfo: DeviceInfo{Name: "d"}}
	list := []Change{
		{Kind: ChangeMarkIDsFaulty, IDs: []uint32{3, 2, 8}},
		changing(ChangeAdd, added),
		{Kind: ChangeBeginIntent, Intent: &begun},
		{Kind: ChangeFreeFaultyIDs, IDs: []uint32{8}},
		{Kind: ChangeMarkIDsFaultyUpTo, IDs: []uint32{9}},
		changing(ChangeFreeID, &Record{DeviceInfo: DeviceInfo{DeviceID: 9}}),
	}
	ok(t, store.Apply(list))
	if list[0].Changed != 2 || list[3].Changed != 2 || list[4].Changed != 4 || added.DeviceID != 6 {
		t.Errorf("%+v, %+v", list, added)
	}
	if begun.Number != 1 || begun.Commit != added.Generation {
		t.Errorf("%+v", begun)
	}
	intents, err := store.Intents()
	ok(t, err)
	if !slices.Equal(intents, []Intent{begun}) {
		t.Errorf("%+v", intents)
	}
	other := Intent{Kind: IntentDelete, Name: "b"}
	each := []Change{
		{Kind: ChangeFinishIntent, Intent: &begun},
		{Kind: ChangeFinishIntent, Intent: &begun},
		{Kind: ChangeBeginIntent, Intent: &other},
		{Kind: ChangeFreeFaultyIDs},
		{Kind: ChangeMarkIDsFaulty, IDs: []uint32{1 << 24}},
		{Kind: ChangeMarkIDsFaultyUpTo},
		{Kind: ChangeBeginIntent},
		{Kind: ChangeBeginIntent, Intent: &Intent{Kind: 9, Name: "b"}},
	}
	errs := store.ApplyEach(each)
	for i, want := range []error{nil, ErrNotFound, nil, nil, ErrInvalidArgument,
		ErrInvalidArgument, ErrInvalidArgument, ErrInvalidArgument} {
		if !errors.Is(errs[i], want) {
			t.Errorf("%d: %v", i, errs[i])
		}
	}
	if other.Number != 2 || each[3].Changed != 4 {
		t.Errorf("%+v, %+v", other, each)
	}
	ok(t, store.Verify())
}
