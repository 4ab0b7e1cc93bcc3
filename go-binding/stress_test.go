package poolmetadata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Writers of all kinds contend for few devices, with a lock wait so short that they often time out,
// until the store is closed. Writes that succeeded are in the store, the others are not, and no
// lock is left.
func TestContendingWritesAndTimeoutsLoseNothing(t *testing.T) {
	for _, processors := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			stress(t)
		})
	}
}

func stress(t *testing.T) {
	const goroutines, devices, each = 24, 4, 60
	path := newPath(t)
	store, err := Open(path, WithLockWait(time.Millisecond), WithDurability(DurabilityRelaxed))
	ok(t, err)
	s := stressed{store: store}
	for i := range devices {
		name := fmt.Sprint(i)
		// The lock wait may be too short for this, too.
		eventually(t, func() bool { return store.AddDevice(ctx, &DeviceInfo{Name: name}) == nil })
	}
	var all sync.WaitGroup
	for g := range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			random := rand.New(rand.NewPCG(uint64(g), 0))
			for range each {
				if err := s.step(g, random.IntN(7), random.IntN(devices)); err != nil && !expected(err) {
					t.Error(err)
				}
			}
		}()
	}
	within(t, all.Wait)
	// The garbage collector aborts the updates that were forgotten.
	eventually(t, func() bool {
		store.locks.queue.mu.Lock()
		defer store.locks.queue.mu.Unlock()
		return len(store.locks.held) == 0
	})
	awaitNoLeader(t, store)
	if waiting := store.queue.waiting(); waiting != 0 {
		t.Errorf("%d writers still wait", waiting)
	}
	for i := range devices {
		info, err := store.GetDevice(ctx, fmt.Sprint(i))
		if made := s.made[i].Load(); err != nil || info.Size != made || made == 0 {
			t.Errorf("%+v, %v: %d changes were made", info, err, made)
		}
	}
	// Now the steps go on until the store is closed.
	for g := range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := g; ; n++ {
				err := s.step(g, n%7, n%devices)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil && !expected(err) {
					t.Error(err)
				}
			}
		}()
	}
	time.Sleep(10 * time.Millisecond)
	eventually(t, func() bool { return store.Close() == nil })
	within(t, all.Wait)
	checkSound(t, openStore(t, path))
}

func expected(err error) bool {
	return errors.Is(err, ErrTimeout) || errors.Is(err, ErrAlreadyExists) ||
		errors.Is(err, ErrNotFound)
}

// stressed counts how often each device's size was incremented.
type stressed struct {
	store *PoolMetadata
	made  [8]atomic.Uint64
}

// step does one of seven things.
func (s *stressed) step(goroutine, what, device int) error {
	name, own := fmt.Sprint(device), fmt.Sprint("of ", goroutine)
	var err error
	switch what {
	case 0, 1:
		err = s.store.UpdateDevice(ctx, name, func(info *DeviceInfo) error {
			info.Size++
			if what == 0 {
				return nil
			}
			// In a ring, so that updates wait for each other.
			return s.store.ChangeDeviceState(ctx, fmt.Sprint((device+1)%4), Suspended)
		})
	case 2:
		var u *Update
		if u, err = s.store.BeginUpdate(name); err == nil {
			u.Info.Size++
			err = u.Commit()
		}
	case 3:
		return s.forget(own)
	case 4:
		return s.store.AddDevice(ctx, &DeviceInfo{Name: own})
	case 5:
		return s.store.RemoveDevice(ctx, own)
	default:
		var record Record
		if record, err = s.store.GetRecord(name); err != nil {
			return err
		}
		record.Size++
		other := &Record{DeviceInfo: DeviceInfo{Name: fmt.Sprint((device + 3) % 4), State: Activated}}
		list := []Change{changing(ChangeState, other), changing(ChangeUpdate, &record)}
		if err = s.store.Apply(list); errors.Is(err, ErrConflict) {
			return nil
		}
	}
	if err == nil {
		s.made[device].Add(1)
	}
	return err
}

// forget begins an update and does not end it.
func (s *stressed) forget(name string) error {
	u, err := s.store.BeginUpdate(name)
	if err == nil {
		u.Info.Size = 4711
	}
	return err
}
