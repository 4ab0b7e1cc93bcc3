package poolmetadata

import (
	"reflect"
	"strings"
	"testing"
)

func TestReconcileFindsDifferencesAndAppliesTheChosen(t *testing.T) {
	store := assorted(t)
	pool := PoolState{
		DeviceIDs: []uint32{1, 4, 6, 0, 1<<24 - 1},
		Snapshots: []string{"a", "b", "x\x00y"},
	}
	found, err := store.Reconcile(pool)
	ok(t, err)
	if found.Commit != 10 || found.InBoth != 2 || found.Newer != 0 {
		t.Errorf("%+v", found)
	}
	created := Created
	want := []Difference{
		{Kind: OnlyInStore, Name: "b", DeviceID: 2, State: &created},
		{Kind: NoSnapshot, Action: ActionRemoveRecordKeepID, Name: "c", DeviceID: 4,
			State: &created, InPool: true, DeleteFromPool: true},
		{Kind: ForeignID, InPool: true},
		{Kind: IDWouldCollide, Action: ActionMarkIDFaulty, DeviceID: 6, InPool: true,
			DeleteFromPool: true},
		{Kind: ForeignID, DeviceID: 1<<24 - 1, InPool: true},
		{Kind: IDLeaked, Action: ActionFreeID, DeviceID: 5},
		{Kind: NoDevice, Name: "x\x00y"},
	}
	var seen []Difference
	for _, each := range found.Differences {
		if each.Text == "" {
			t.Errorf("%+v has no text", each)
		}
		each.Text, each.generation = "", 0
		seen = append(seen, each)
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("%+v", seen)
	}
	if text := found.Differences[0].Text; !strings.Contains(text, `"b" (id 2`) {
		t.Errorf("%s", text)
	}
	found.Differences = found.Differences[1:]
	count, err := store.ApplyReconciliation(found)
	ok(t, err)
	if count != 3 {
		t.Errorf("%d", count)
	}
	_, err = store.GetDevice(ctx, "c")
	wantError(t, err, ErrNotFound)
	faulty, err := store.ListIDs(IDFaulty)
	ok(t, err)
	if !reflect.DeepEqual(faulty, []IDInfo{{1, IDFaulty, "a"}, {4, IDFaulty, ""}, {6, IDFaulty, ""}}) {
		t.Errorf("%+v", faulty)
	}
	_, err = store.ApplyReconciliation(found)
	wantError(t, err, ErrNotFound)
	ok(t, store.Verify())
}

func TestPoolCommandsQuoteThePoolAndLeaveOddNamesOut(t *testing.T) {
	device := Difference{DeviceID: 7, DeleteFromPool: true}
	for name, deactivate := range map[string][]string{
		"": nil, "-x": nil, "a b": nil, "\xff": nil, "p-1": {"dmsetup remove p-1"},
	} {
		device.Name = name
		for pool, quoted := range map[string]string{"it's": `'it'\''s'`, "/dev/p": "/dev/p"} {
			want := append(deactivate[:len(deactivate):len(deactivate)],
				"dmsetup message "+quoted+" 0 'delete 7'")
			if commands := device.PoolCommands(pool); !reflect.DeepEqual(commands, want) {
				t.Errorf("%q", commands)
			}
		}
	}
	if commands := (&Difference{DeviceID: 7, Name: "p-1"}).PoolCommands("pool"); commands != nil {
		t.Errorf("%q", commands)
	}
}

func TestReconcileTellsUnknownListsFromEmptyOnes(t *testing.T) {
	store := assorted(t)
	ok(t, store.FreeID(5))
	ids, old := []uint32{1, 2, 4}, uint64(0)
	for _, c := range []struct {
		pool                PoolState
		differences, inBoth int
		newer               int
	}{
		{PoolState{DeviceIDs: ids}, 0, 3, 0},
		{PoolState{DeviceIDs: ids, Snapshots: []string{}}, 3, 3, 0},
		{PoolState{DeviceIDs: ids, Snapshots: []string{"a", "b", "c"}}, 0, 3, 0},
		{PoolState{Snapshots: []string{"a", "c"}}, 1, 0, 0},
		{PoolState{DeviceIDs: []uint32{}}, 3, 0, 0},
		{PoolState{DeviceIDs: []uint32{}, Commit: &old}, 0, 0, 3},
	} {
		found, err := store.Reconcile(c.pool)
		ok(t, err)
		if len(found.Differences) != c.differences || found.InBoth != c.inBoth ||
			found.Newer != c.newer {
			t.Errorf("%+v: %+v", c.pool, found)
		}
	}
}

func TestReconcileRefusesWhatNoPoolHas(t *testing.T) {
	store := assorted(t)
	for _, ids := range [][]uint32{nil, {1, 1}, {1 << 24}} {
		_, err := store.Reconcile(PoolState{DeviceIDs: ids})
		wantError(t, err, ErrInvalidArgument)
	}
	for _, plan := range []*Reconciliation{nil, {Differences: []Difference{{Action: 5}}}} {
		_, err := store.ApplyReconciliation(plan)
		wantError(t, err, ErrInvalidArgument)
	}
	count, err := store.ApplyReconciliation(&Reconciliation{})
	ok(t, err)
	if count != 0 {
		t.Error(count)
	}
	ok(t, store.Close())
	_, err = store.Reconcile(PoolState{DeviceIDs: []uint32{}})
	wantError(t, err, ErrClosed)
	_, err = store.ApplyReconciliation(&Reconciliation{})
	wantError(t, err, ErrClosed)
}
