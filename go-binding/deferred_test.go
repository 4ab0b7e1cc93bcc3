package poolmetadata

import "testing"

func TestDeferredWriteIsSeenThroughTheStoreItself(t *testing.T) {
	store := newStore(t)
	deferred := store.Deferred()
	info := add(t, deferred, DeviceInfo{Name: "dev"})
	expect(t, store, info)
	ok(t, deferred.ChangeDeviceState(ctx, "dev", Created))
	ok(t, deferred.UpdateDevice(ctx, "dev", func(info *DeviceInfo) error {
		info.Size = 7
		return nil
	}))
	info.State, info.Size = Created, 7
	expect(t, store, info)
	ok(t, store.Sync())
}

// Both lock devices together: an update of one keeps out the writes of the other.
func TestDeferredWriteWaitsForAnUpdateOfTheStoreItself(t *testing.T) {
	store := openStore(t, newPath(t), WithLockWait(1))
	add(t, store, DeviceInfo{Name: "dev"})
	update, err := store.BeginUpdate("dev")
	ok(t, err)
	wantError(t, store.Deferred().ChangeDeviceState(ctx, "dev", Created), ErrTimeout)
	ok(t, update.Commit())
}

func TestGoroutinesShareACommitOfDeferredAndOtherWrites(t *testing.T) {
	store := newStore(t)
	deferred := store.Deferred()
	release := holdLead(t, store)
	ended := startWaiters(t, store,
		func() error { return deferred.AddDevice(ctx, &DeviceInfo{Name: "a"}) },
		func() error { return store.AddDevice(ctx, &DeviceInfo{Name: "b"}) },
		func() error { return deferred.AddDevice(ctx, &DeviceInfo{Name: "c"}) })
	before := stats(t, store)
	release()
	for _, err := range ended() {
		ok(t, err)
	}
	after := stats(t, store)
	if after.Commits != before.Commits+1 || after.Flushes == before.Flushes {
		t.Errorf("%d commits, %d flushes", after.Commits-before.Commits, after.Flushes-before.Flushes)
	}
}

func TestClosedStoreIsClosedForDeferredWritesToo(t *testing.T) {
	store := newStore(t)
	deferred := store.Deferred()
	add(t, deferred, DeviceInfo{Name: "dev"})
	ok(t, deferred.Close())
	for _, each := range []*PoolMetadata{store, deferred} {
		wantError(t, each.RemoveDevice(ctx, "dev"), ErrClosed)
		ok(t, each.Close())
	}
}
