package poolmetadata

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCallsAfterCloseFail(t *testing.T) {
	store := newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	for op, err := range everyCall(store) {
		if err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	add(t, store, DeviceInfo{Name: "dev"})
	u, err := store.BeginUpdate("dev")
	ok(t, err)
	for range 3 {
		ok(t, store.Close())
	}
	for op, err := range everyCall(store) {
		if !errors.Is(err, ErrClosed) || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", op, err)
		}
	}
	wantError(t, u.Commit(), ErrClosed)
}

// Close waits for a running callback, whose changes are written.
func TestCloseWaitsForCallbacks(t *testing.T) {
	path := newPath(t)
	store := openStore(t, path)
	// So few devices that the library's own walk has ended when the callback runs: Close does not
	// wait for that.
	fill(t, store, 3)
	const name = "containerd-pool-snap-000000"
	for _, call := range []func(func(*DeviceInfo) error) error{
		func(fn func(*DeviceInfo) error) error { return store.UpdateDevice(ctx, name, fn) },
		func(fn func(*DeviceInfo) error) error { return store.WalkDevices(ctx, fn) },
	} {
		var (
			inside, goOn, closed = make(chan struct{}), make(chan struct{}), make(chan error)
			once                 sync.Once
			result               = make(chan error, 1)
		)
		go func() {
			result <- call(func(info *DeviceInfo) error {
				once.Do(func() { close(inside); <-goOn })
				info.Size++
				return nil
			})
		}()
		<-inside
		go func() { closed <- store.Close() }()
		eventually(t, store.calls.isShut)
		_, err := store.GetDevice(ctx, name)
		wantError(t, err, ErrClosed)
		select {
		case err := <-closed:
			t.Fatalf("Close returned %v while a callback ran", err)
		case <-time.After(50 * time.Millisecond):
		}
		close(goOn)
		ok(t, <-result)
		ok(t, <-closed)
		store = openStore(t, path)
	}
	info, err := store.GetDevice(ctx, name)
	ok(t, err)
	if info.Size != 1 {
		t.Errorf("the size is %d: the update that Close waited for is lost", info.Size)
	}
}

// Waiting for the callback that Close is called from could only time out.
func TestCloseInsideCallbackIsBusyAtOnce(t *testing.T) {
	const wait = time.Minute
	path := newPath(t)
	for name, call := range map[string]func(*PoolMetadata, func()) error{
		"UpdateDevice": func(store *PoolMetadata, do func()) error {
			return store.UpdateDevice(ctx, "dev", func(*DeviceInfo) error { do(); return nil })
		},
		"WalkDevices": func(store *PoolMetadata, do func()) error {
			return store.WalkDevices(ctx, func(*DeviceInfo) error { do(); return nil })
		},
		"Devices": func(store *PoolMetadata, do func()) error {
			for _, err := range store.Devices() {
				if err != nil {
					return err
				}
				do()
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := Open(path, WithLockWait(wait))
			ok(t, err)
			if _, err := store.GetDevice(ctx, "dev"); err != nil {
				add(t, store, DeviceInfo{Name: "dev"})
			}
			start := time.Now()
			waits := make(chan error, 1)
			ok(t, call(store, func() {
				wantError(t, store.Close(), ErrBusy)
				// Another goroutine waits for the callback, and this one does not join it.
				go func() { waits <- store.Close() }()
				eventually(t, func() bool {
					store.closing.Lock()
					defer store.closing.Unlock()
					return store.attempt != nil
				})
				wantError(t, store.Close(), ErrBusy)
			}))
			ok(t, <-waits)
			if took := time.Since(start); took > wait/2 {
				t.Errorf("it took %v", took)
			}
			_, err = store.GetDevice(ctx, "dev")
			wantError(t, err, ErrClosed)
			ok(t, store.Close())
		})
	}
}

// A callback of one store may close another, and waits for the other's callbacks.
func TestCloseInsideCallbackOfAnotherStoreWaits(t *testing.T) {
	store, other := newStore(t), newStore(t)
	add(t, store, DeviceInfo{Name: "dev"})
	add(t, other, DeviceInfo{Name: "dev"})
	inside, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- other.UpdateDevice(ctx, "dev", func(*DeviceInfo) error {
			close(inside)
			<-goOn
			return nil
		})
	}()
	<-inside
	ok(t, store.WalkDevices(ctx, func(*DeviceInfo) error {
		time.AfterFunc(20*time.Millisecond, func() { close(goOn) })
		return other.Close()
	}))
	ok(t, <-ended)
	ok(t, store.Close())
}

// Sixty-four goroutines make calls of all kinds until the store is closed, several times.
func TestCloseUnderLoad(t *testing.T) {
	path := newPath(t)
	for range 5 {
		store := openStore(t, path)
		var (
			all   sync.WaitGroup
			calls atomic.Int64
		)
		for i := range 64 {
			all.Add(1)
			go func() {
				defer all.Done()
				name := fmt.Sprint("dev", i%16)
				for {
					calls.Add(1)
					err := someCall(store, i, name)
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrAlreadyExists) {
						t.Errorf("goroutine %d: %v", i, err)
						return
					}
				}
			}()
		}
		within(t, func() {
			for calls.Load() < 2000 {
				time.Sleep(time.Millisecond)
			}
			var closers sync.WaitGroup
			for range 3 {
				closers.Add(1)
				go func() {
					defer closers.Done()
					if err := store.Close(); err != nil {
						t.Error(err)
					}
				}()
			}
			closers.Wait()
			all.Wait()
		})
	}
	checkSound(t, openStore(t, path))
}

func someCall(store *PoolMetadata, i int, name string) error {
	switch i % 8 {
	case 0:
		return store.AddDevice(ctx, &DeviceInfo{Name: name})
	case 1:
		return store.RemoveDevice(ctx, name)
	case 2:
		return store.UpdateDevice(ctx, name, func(info *DeviceInfo) error { info.Size++; return nil })
	case 3:
		return store.WalkDevices(ctx, func(*DeviceInfo) error { return nil })
	case 4:
		return store.MarkFaulty(ctx, name)
	case 5:
		_, err := store.GetDeviceNames(ctx)
		return err
	case 6:
		_, err := store.Stats()
		return err
	default:
		_, err := store.GetDevice(ctx, name)
		return err
	}
}

// Concurrent calls of Close wait no longer than one would. One after the other they need at least
// twenty times as long, so one attempt that the machine has not delayed is enough.
func TestConcurrentClosesShareOneWait(t *testing.T) {
	const wait, closers, attempts = 300 * time.Millisecond, 20, 20
	for range attempts {
		took := closeAtOnce(t, wait, closers)
		if took < wait {
			t.Fatalf("%d of them waited %v", closers, took)
		}
		if took <= closers*wait/2 {
			return
		}
	}
	t.Errorf("%d of them never gave up together", closers)
}

// closeAtOnce makes several calls of Close while the store is in use, and returns how long they
// took to time out.
func closeAtOnce(t *testing.T, wait time.Duration, closers int) (took time.Duration) {
	t.Helper()
	store := newStore(t, WithLockWait(wait))
	add(t, store, DeviceInfo{Name: "dev"})
	ok(t, store.UpdateDevice(ctx, "dev", func(*DeviceInfo) error {
		var all sync.WaitGroup
		start := time.Now()
		for range closers {
			all.Add(1)
			go func() {
				defer all.Done()
				wantError(t, store.Close(), ErrBusy)
			}()
		}
		all.Wait()
		took = time.Since(start)
		return nil
	}))
	ok(t, store.Close())
	return took
}
