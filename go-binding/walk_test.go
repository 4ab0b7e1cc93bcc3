package poolmetadata

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fill adds n devices, and returns them in the order of their names.
func fill(t testing.TB, store *PoolMetadata, n int) []DeviceInfo {
	t.Helper()
	var all []DeviceInfo
	for i := range n {
		// Added in another order than that of the names.
		at := i * 7919 % n
		all = append(all, add(t, store, DeviceInfo{
			Name:       fmt.Sprintf("containerd-pool-snap-%06d", at),
			ParentName: fmt.Sprintf("containerd-pool-snap-%06d", at/2),
			Size:       uint64(at) << 20,
			State:      DeviceState(at % 14),
			Error:      strings.Repeat("e", at%50),
		}))
	}
	slices.SortFunc(all, func(a, b DeviceInfo) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func walked(t testing.TB, store *PoolMetadata) (all []*DeviceInfo) {
	t.Helper()
	ok(t, store.WalkDevices(ctx, func(info *DeviceInfo) error {
		all = append(all, info)
		return nil
	}))
	return all
}

// checkAll compares what a walk has shown with what was written.
func checkAll(t testing.TB, got []*DeviceInfo, want []DeviceInfo) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d devices were shown, not %d", len(got), len(want))
	}
	for i := range want {
		if *got[i] != want[i] {
			t.Fatalf("device %d is %.200v, not %.200v", i, *got[i], want[i])
		}
	}
}

func TestWalksOfAllSizes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 700, 3001} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			store := newStore(t, WithDurability(DurabilityRelaxed))
			all := fill(t, store, n)
			// Devices that a callback got stay valid after the walk.
			checkAll(t, walked(t, store), all)
			var ranged []*DeviceInfo
			for info, err := range store.Devices() {
				ok(t, err)
				ranged = append(ranged, &info)
			}
			checkAll(t, ranged, all)
			names, err := store.GetDeviceNames(ctx)
			ok(t, err)
			if len(names) != n || (n == 0) != (names == nil) {
				t.Fatalf("%d names", len(names))
			}
			for i, name := range names {
				if name != all[i].Name {
					t.Fatalf("name %d is %q", i, name)
				}
			}
		})
	}
}

// Large records between small ones, at the start of a walk, in its middle and at its end.
func TestWalkWithLargeRecords(t *testing.T) {
	store := newStore(t)
	var all []DeviceInfo
	for i, length := range []int{MaxErrorLen, 0, 10, 66000, 65400, 1, MaxErrorLen} {
		all = append(all, add(t, store, DeviceInfo{
			Name: fmt.Sprint("dev", i), Error: strings.Repeat(fmt.Sprint(i), length),
		}))
	}
	checkAll(t, walked(t, store), all)
}

// Devices share the bytes of equal parents, and no others: consecutive parents are equal, have a
// common prefix, are missing, or are followed by an error text, over many chunks of texts.
func TestWalkWithEqualParents(t *testing.T) {
	store := newStore(t, WithDurability(DurabilityRelaxed))
	long := strings.Repeat("p", MaxNameLen)
	parents := []string{"base", "base", "bass", "bas", "base2", "", "base2", long, long, long[1:],
		"base", "base"}
	var all []DeviceInfo
	for i := range 2000 {
		device := DeviceInfo{Name: fmt.Sprintf("dev%06d", i), ParentName: parents[i%len(parents)]}
		if i%3 == 0 {
			device.Error = strings.Repeat("e", i%700)
		}
		all = append(all, add(t, store, device))
	}
	checkAll(t, walked(t, store), all)
	var ranged []*DeviceInfo
	for info, err := range store.Devices() {
		ok(t, err)
		ranged = append(ranged, &info)
	}
	checkAll(t, ranged, all)
	devices, _, err := store.Snapshot()
	ok(t, err)
	if !slices.Equal(devices, all) {
		t.Error("the snapshot shows other devices")
	}
}

func TestWalkReturnsTheCallbacksError(t *testing.T) {
	store := newStore(t)
	fill(t, store, 900)
	for _, after := range []int{1, 2, 900} {
		mine, calls := &oddError{"mine"}, 0
		err := store.WalkDevices(ctx, func(*DeviceInfo) error {
			if calls++; calls == after {
				return mine
			}
			return nil
		})
		if err != error(mine) || calls != after {
			t.Errorf("%v after %d calls", err, calls)
		}
	}
	wantError(t, store.WalkDevices(ctx, nil), ErrInvalidArgument)
}

// The walk shows the store as it was; the callback's writes are there after it.
func TestWalkCallbackMayWrite(t *testing.T) {
	store := newStore(t)
	fill(t, store, 900)
	seen := 0
	within(t, func() {
		ok(t, store.WalkDevices(ctx, func(info *DeviceInfo) error {
			seen++
			switch {
			case seen%300 == 0:
				return store.RemoveDevice(ctx, info.Name)
			case seen%300 == 1:
				return store.AddDevice(ctx, &DeviceInfo{Name: info.Name + "+"})
			case seen%300 == 2:
				return store.UpdateDevice(ctx, info.Name, func(d *DeviceInfo) error { d.Size = 1; return nil })
			}
			return nil
		}))
	})
	if names, err := store.GetDeviceNames(ctx); err != nil || seen != 900 || len(names) != 900 {
		t.Errorf("%d seen, %d left, %v", seen, len(names), err)
	}
}

func TestPanicAndGoexitInWalk(t *testing.T) {
	store := newStore(t)
	fill(t, store, 900)
	value := &oddError{"thrown"}
	func() {
		defer func() {
			if got := recover(); got != any(value) {
				t.Errorf("recovered %v", got)
			}
		}()
		_ = store.WalkDevices(ctx, func(*DeviceInfo) error { panic(value) })
	}()
	within(t, func() {
		_ = store.WalkDevices(ctx, func(*DeviceInfo) error {
			new(testing.T).FailNow()
			return nil
		})
	})
	checkWritable(t, store, "containerd-pool-snap-000000")
	// An open walk would prevent the store from closing.
	ok(t, store.Close())
}

func TestLeavingIterationEndsWalk(t *testing.T) {
	store := newStore(t)
	all := fill(t, store, 900)
	for info, err := range store.Devices() {
		ok(t, err)
		if info != all[0] {
			t.Errorf("%+v", info)
		}
		break
	}
	next, stop := iter.Pull2(store.Devices())
	for range 2 {
		if _, err, more := next(); err != nil || !more {
			t.Error(err, more)
		}
	}
	stop()
	ok(t, store.Close())
	for info, err := range store.Devices() {
		if info != (DeviceInfo{}) {
			t.Errorf("%+v after the store was closed", info)
		}
		wantError(t, err, ErrClosed)
	}
}

// A record that was damaged on disk is an error in every call that reads it; the others are not
// affected.
func TestDamagedRecordIsAnError(t *testing.T) {
	// The record is on the first page of a walk and on a later one.
	for _, sound := range []int{0, 9, 899} {
		t.Run(strconv.Itoa(sound), func(t *testing.T) { damagedRecord(t, sound) })
	}
}

func damagedRecord(t *testing.T, sound int) {
	path := newPath(t)
	store := openStore(t, path)
	all := fill(t, store, sound+1)
	const mark = "this will be damaged"
	ok(t, store.UpdateDevice(ctx, all[sound].Name,
		func(d *DeviceInfo) error { d.Error = mark; return nil }))
	ok(t, store.Close())
	damage(t, path, mark)

	_, err := Open(path)
	wantError(t, err, ErrCorrupt)
	store, err = Open(path, WithVerify(VerifyNone))
	ok(t, err)
	defer func() { ok(t, store.Close()) }()
	wantError(t, store.Verify(), ErrCorrupt)
	_, err = store.GetDevice(ctx, all[sound].Name)
	wantError(t, err, ErrCorrupt)
	if sound > 0 {
		expect(t, store, all[0])
	}
	shown := 0
	err = store.WalkDevices(ctx, func(info *DeviceInfo) error {
		if *info != all[shown] {
			t.Errorf("device %d is %+v", shown, *info)
		}
		shown++
		return nil
	})
	wantError(t, err, ErrCorrupt)
	if shown != sound {
		t.Errorf("%d of the %d devices before the damaged one were shown", shown, sound)
	}
	var last error
	yielded := 0
	for info, err := range store.Devices() {
		last = errors.Join(last, err)
		if info.Name != "" {
			yielded++
		}
	}
	wantError(t, last, ErrCorrupt)
	if yielded != sound {
		t.Errorf("%d of the %d devices before the damaged one were yielded", yielded, sound)
	}
}

// damage changes a bit of the text everywhere in the file.
func damage(t testing.TB, path, text string) {
	t.Helper()
	content, err := os.ReadFile(path)
	ok(t, err)
	changed := bytes.ReplaceAll(content, []byte(text), []byte("U"+text[1:]))
	if bytes.Equal(content, changed) {
		t.Fatal("the text is not in the file")
	}
	ok(t, os.WriteFile(path, changed, 0o600))
}
