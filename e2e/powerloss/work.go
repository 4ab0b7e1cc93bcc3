package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// state is what the store has: its devices, by name.
type state map[string]poolmetadata.DeviceInfo

// work does random operations on a store and remembers the state after each.
type work struct {
	random *rand.Rand
	store  *poolmetadata.PoolMetadata
	// states has the state before the first operation and after each.
	states []state
}

func newWork(seed uint64) *work {
	return &work{random: rand.New(rand.NewPCG(seed, 0)), states: []state{{}}}
}

// step does one operation. The new state is added first: whether the operation takes effect is
// open until it returns.
func (w *work) step() error {
	ctx := context.Background()
	next := maps.Clone(w.states[len(w.states)-1])
	names := slices.Sorted(maps.Keys(next))
	var do func() error
	switch choice := w.random.IntN(6); {
	case len(names) == 0 || choice < 3:
		info := poolmetadata.DeviceInfo{
			Name: fmt.Sprintf("device-%d", len(w.states)), Size: w.random.Uint64() >> 1,
			State: poolmetadata.Activated, DeviceID: w.freeID(next),
		}
		next[info.Name] = info
		do = func() error {
			got := info
			if err := w.store.AddDevice(ctx, &got); err != nil {
				return err
			}
			if got.DeviceID != info.DeviceID {
				return fmt.Errorf("%s got id %d, expected %d", info.Name, got.DeviceID, info.DeviceID)
			}
			return nil
		}
	case choice < 5:
		info := next[names[w.random.IntN(len(names))]]
		info.State, info.Error = poolmetadata.Suspended, fmt.Sprintf("step %d", len(w.states))
		next[info.Name] = info
		do = func() error {
			return w.store.UpdateDevice(ctx, info.Name, func(d *poolmetadata.DeviceInfo) error {
				d.State, d.Error = info.State, info.Error
				return nil
			})
		}
	default:
		name := names[w.random.IntN(len(names))]
		delete(next, name)
		do = func() error { return w.store.RemoveDevice(ctx, name) }
	}
	w.states = append(w.states, next)
	return do()
}

// freeID predicts the id of the next device: the lowest that no device has.
func (w *work) freeID(devices state) uint32 {
	taken := map[uint32]bool{}
	for _, info := range devices {
		taken[info.DeviceID] = true
	}
	id := uint32(1)
	for taken[id] {
		id++
	}
	return id
}

// contents reads the devices of a store.
func contents(store *poolmetadata.PoolMetadata) (state, error) {
	devices := state{}
	for info, err := range store.Devices() {
		if err != nil {
			return nil, err
		}
		devices[info.Name] = info
	}
	return devices, nil
}

// check opens a store after a loss of power and wants it to be whole, to have every operation that
// was acknowledged, and at most those that were running: none or one. Then it has to take new work.
func (w *work) check(path string, acknowledged, running int) (err error) {
	if acknowledged < 0 {
		// The store was being made. There may be none, and what there is must not be in the way.
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		acknowledged = 0
	}
	store, err := poolmetadata.NewPoolMetadata(path)
	if err != nil {
		return fmt.Errorf("the store does not open: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	report, err := store.Check(10)
	if err != nil {
		return fmt.Errorf("the check does not run: %w", err)
	}
	if len(report.Findings) > 0 {
		return fmt.Errorf("the check finds %v", report.Findings)
	}
	got, err := contents(store)
	if err != nil {
		return err
	}
	possible := w.states[acknowledged:min(acknowledged+1+running, len(w.states))]
	if !slices.ContainsFunc(possible, func(s state) bool { return maps.Equal(s, got) }) {
		return fmt.Errorf("after %d acknowledged operations the store has\n%v\nand not\n%v",
			acknowledged, got, possible)
	}
	info := &poolmetadata.DeviceInfo{Name: "new", State: poolmetadata.Activated}
	if err := store.AddDevice(context.Background(), info); err != nil {
		return fmt.Errorf("new work: %w", err)
	}
	return nil
}
