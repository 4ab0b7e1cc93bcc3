package poolmetadata

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// livedIn fills a store with devices, free ids and faulty ids.
func livedIn(t testing.TB, store *PoolMetadata) {
	t.Helper()
	for i := range 40 {
		add(t, store, DeviceInfo{Name: fmt.Sprintf("dev-%02d", i), ParentName: "base", Size: uint64(i),
			State: Created})
	}
	for i := 0; i < 40; i += 5 {
		ok(t, store.RemoveDevice(ctx, fmt.Sprintf("dev-%02d", i)))
	}
	ok(t, store.MarkFaulty(ctx, "dev-11"))
	ok(t, store.MarkFaulty(ctx, "dev-12"))
	add(t, store, DeviceInfo{Name: "dev-12", Error: strings.Repeat("e", 100_000)})
}

func TestImportOfSnapshotRestoresIt(t *testing.T) {
	from := newStore(t)
	livedIn(t, from)
	devices, ids, err := from.Snapshot()
	ok(t, err)
	if len(devices) != 32 || ids.LastID != 40 || len(ids.Free) != 7 || len(ids.Faulty) != 2 {
		t.Errorf("%d devices, ids %v", len(devices), ids)
	}
	to := newStore(t)
	ok(t, to.Import(devices, ids))
	again, idsAgain, err := to.Snapshot()
	ok(t, err)
	if !reflect.DeepEqual(devices, again) || !reflect.DeepEqual(ids, idsAgain) {
		t.Errorf("%v\n%v", ids, idsAgain)
	}
	wantError(t, to.Import(devices, ids), ErrNotEmpty)
}

func TestSnapshotOfEmptyStoreIsEmpty(t *testing.T) {
	store := newStore(t)
	devices, ids, err := store.Snapshot()
	ok(t, err)
	if len(devices) != 0 || ids.LastID != 0 || len(ids.Free) != 0 || len(ids.Faulty) != 0 {
		t.Errorf("%v, %v", devices, ids)
	}
	ok(t, store.Import(devices, ids))
}

func TestImportRefusesUnsoundPool(t *testing.T) {
	store := newStore(t)
	cases := map[string]struct {
		devices []DeviceInfo
		ids     DeviceIDs
		want    error
	}{
		"an id without an owner": {nil, DeviceIDs{LastID: 1}, ErrInvalidArgument},
		"a state too small": {[]DeviceInfo{{Name: "a", DeviceID: 1, State: -1}},
			DeviceIDs{LastID: 1}, ErrInvalidState},
		"a state too large": {[]DeviceInfo{{Name: "a", DeviceID: 1, State: 1 << 40}},
			DeviceIDs{LastID: 1}, ErrInvalidState},
		"a long text": {[]DeviceInfo{{Name: "a", DeviceID: 1,
			Error: strings.Repeat("e", MaxErrorLen+1)}}, DeviceIDs{LastID: 1}, ErrTooLong},
		"a very long text": {[]DeviceInfo{{Name: "a", DeviceID: 1,
			Error: strings.Repeat("e", 5*MaxErrorLen)}}, DeviceIDs{LastID: 1}, ErrTooLong},
	}
	for name, c := range cases {
		err := store.Import(c.devices, c.ids)
		wantError(t, err, c.want)
		if err != nil && !strings.HasPrefix(err.Error(), "failed to fill the store: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if devices, ids, err := store.Snapshot(); err != nil || len(devices) != 0 || ids.LastID != 0 {
		t.Errorf("%v, %v, %v", devices, ids, err)
	}
}

func TestImportAndSnapshotOfClosedStoreFail(t *testing.T) {
	store, err := Open(newPath(t))
	ok(t, err)
	ok(t, store.Close())
	_, _, err = store.Snapshot()
	wantError(t, err, ErrClosed)
	wantError(t, store.Import(nil, DeviceIDs{}), ErrClosed)
	wantError(t, store.ExportBbolt(newPath(t)), ErrClosed)
}
