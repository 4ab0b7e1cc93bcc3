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
		{Kind: OnlyInStore, Action: ActionMarkFaulty, Name: "b", DeviceID: 2, State: &created},
		{Kind: NoSnapshot, Action: ActionMarkFaulty, Name: "c", DeviceID: 4, State: &created,
			InPool: true, DeleteFromPool: true},
		{Kind: OnlyInPool, InPool: true},
		{Kind: IDWouldCollide, Action: ActionMarkIDFaulty, DeviceID: 6, InPool: true,
			DeleteFromPool: true},
		{Kind: OnlyInPool, DeviceID: 1<<24 - 1, InPool: true},
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
	device, err := store.GetDevice(ctx, "c")
	ok(t, err)
	if device.State != Faulty {
		t.Errorf("%+v", device)
	}
	_, err = store.ApplyReconciliation(found)
	wantError(t, err, ErrConflict)
	ok(t, store.Verify())
}

func TestPoolCommandQuotesThePool(t *testing.T) {
	device := Difference{DeviceID: 7, DeleteFromPool: true}
	if command := device.PoolCommand("it's"); command != `dmsetup message 'it'\''s' 0 'delete 7'` {
		t.Error(command)
	}
	if command := (&Difference{DeviceID: 7}).PoolCommand("pool"); command != "" {
		t.Error(command)
	}
}

func TestReconcileTellsUnknownNamesFromNoNames(t *testing.T) {
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
		{PoolState{}, 3, 0, 0},
		{PoolState{Commit: &old}, 0, 0, 3},
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
	for _, ids := range [][]uint32{{1, 1}, {1 << 24}} {
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
	_, err = store.Reconcile(PoolState{})
	wantError(t, err, ErrClosed)
	_, err = store.ApplyReconciliation(&Reconciliation{})
	wantError(t, err, ErrClosed)
}
