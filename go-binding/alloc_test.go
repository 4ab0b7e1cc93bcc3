//go:build !race

package poolmetadata

import (
	"runtime"
	"testing"
)

// How much calls may allocate. Under the race detector the runtime allocates by itself, and
// sync.Pool drops elements on purpose.

func TestGetAllocatesTwice(t *testing.T) {
	store := newStore(t)
	fill(t, store, 10)
	var info *DeviceInfo
	var err error
	allocs := testing.AllocsPerRun(1000, func() {
		info, err = store.GetDevice(ctx, "containerd-pool-snap-000007")
	})
	ok(t, err)
	if info.DeviceID == 0 || allocs > 2 {
		t.Errorf("%v allocations for %+v; the record and its texts are 2", allocs, *info)
	}
	allocs = testing.AllocsPerRun(1000, func() {
		info, err = store.GetDevice(ctx, "absent")
	})
	if err != ErrNotFound || allocs > 1 {
		t.Errorf("%v allocations for an absent device, %v", allocs, err)
	}
}

func TestWalkAllocatesByThePage(t *testing.T) {
	const n = 10_000
	store := newStore(t, WithDurability(DurabilityRelaxed))
	fillMany(t, store, n)
	shown := 0
	count := func(*DeviceInfo) error { shown++; return nil }
	allocs := testing.AllocsPerRun(10, func() {
		shown = 0
		ok(t, store.WalkDevices(ctx, count))
	})
	t.Logf("%v allocations for a walk of %d devices", allocs, n)
	if shown != n || allocs > n/100 {
		t.Errorf("%v allocations for %d devices; 0.01 for each is the limit", allocs, shown)
	}
	allocs = testing.AllocsPerRun(10, func() {
		shown = 0
		for _, err := range store.Devices() {
			ok(t, err)
			shown++
		}
	})
	if shown != n || allocs > n/100 {
		t.Errorf("%v allocations for an iteration over %d devices", allocs, shown)
	}
	// The devices themselves allocate nothing.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, err := range store.Devices() {
		ok(t, err)
	}
	runtime.ReadMemStats(&after)
	texts := uint64(2*len("containerd-pool-snap-000000") + 2)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > n*texts*11/10 {
		t.Errorf("%d bytes for an iteration over %d devices whose texts have %d each", bytes, n, texts)
	}
	var names []string
	allocs = testing.AllocsPerRun(10, func() { names, _ = store.GetDeviceNames(ctx) })
	if len(names) != n || allocs > 2 {
		t.Errorf("%v allocations for a list of %d names", allocs, len(names))
	}
}

// A write allocates what its callback gets, and nothing for an error that it does not return.
func TestWritesAllocateLittle(t *testing.T) {
	store := newStore(t, WithDurability(DurabilityRelaxed))
	add(t, store, DeviceInfo{Name: "dev"})
	var err error
	for what, test := range map[string]struct {
		most float64
		call func()
	}{
		"ChangeDeviceState": {0, func() { err = store.ChangeDeviceState(ctx, "dev", Created) }},
		"MarkFaulty":        {0, func() { err = store.MarkFaulty(ctx, "dev") }},
		"UpdateDevice": {2, func() {
			err = store.UpdateDevice(ctx, "dev", func(info *DeviceInfo) error { info.Size++; return nil })
		}},
	} {
		if allocs := testing.AllocsPerRun(50, test.call); err != nil || allocs > test.most {
			t.Errorf("%s: %v allocations, %v", what, allocs, err)
		}
	}
}
