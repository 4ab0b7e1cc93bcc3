package poolmetadata

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fillMany adds n devices with many goroutines, in no order.
func fillMany(t testing.TB, store *PoolMetadata, n int) {
	t.Helper()
	var (
		all  sync.WaitGroup
		next atomic.Int64
	)
	for range 64 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				info := DeviceInfo{Name: deviceName(int(i)), ParentName: deviceName(int(i) / 2), Size: 10 << 30,
					State: Activated}
				if err := store.AddDevice(ctx, &info); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	all.Wait()
}

func deviceName(i int) string {
	return fmt.Sprintf("containerd-pool-snap-%06d", i)
}

// Sixty-four goroutines change one device, and no change is lost.
func TestConcurrentUpdatesOfOneDeviceLoseNone(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "counter"})
	var all sync.WaitGroup
	inside := 0 // the race detector sees it too if the lock does not hold
	for range 64 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 5 {
				err := store.UpdateDevice(ctx, "counter", func(info *DeviceInfo) error {
					inside++
					info.Size++
					inside--
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	if info, err := store.GetDevice(ctx, "counter"); err != nil || info.Size != 320 || inside != 0 {
		t.Errorf("%+v, %v: 320 updates were made", info, err)
	}
}

// Three thousand goroutines read at once. The reader table has 1,024 slots: the other goroutines
// wait, and none fails.
func TestThousandsOfReadersWaitForSlots(t *testing.T) {
	const goroutines, devices = 3000, 1500 // more than one page of a walk, so that it stays open
	store := newStore(t, WithDurability(DurabilityRelaxed))
	fillMany(t, store, devices)
	var (
		all      sync.WaitGroup
		walking  atomic.Int64
		released = make(chan struct{})
		enough   = errors.New("seen enough")
	)
	before := stats(t, store)
	other := newStore(t)
	for i := range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			err := store.WalkDevices(ctx, func(*DeviceInfo) error {
				walking.Add(1)
				<-released
				return enough
			})
			if err != enough {
				t.Errorf("walk: %v", err)
			}
			name := deviceName(i % devices)
			if info, err := store.GetDevice(ctx, name); err != nil || info.Name != name {
				t.Errorf("%+v, %v", info, err)
			}
		}()
	}
	// All slots are in use when the number of walks stops growing and goroutines wait. The count of
	// waits is for the whole process: another store reports it, without a slot of this one.
	var last int64
	eventually(t, func() bool {
		time.Sleep(50 * time.Millisecond)
		now := walking.Load()
		full := now > 900 && now == last && stats(t, other).ReaderWaits > before.ReaderWaits
		last = now
		return full
	})
	if last > 1024 {
		t.Errorf("%d walks are open", last)
	}
	// A write needs no slot.
	ok(t, store.ChangeDeviceState(ctx, deviceName(0), Suspended))
	close(released)
	all.Wait()
	after := stats(t, store)
	if after.ReaderWaits == before.ReaderWaits || after.ReaderRefusals != before.ReaderRefusals ||
		after.ReadersActive != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
