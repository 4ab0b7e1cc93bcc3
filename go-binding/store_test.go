package poolmetadata

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventually runs the garbage collector until something holds.
func eventually(t testing.TB, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("it did not come about in %v", patience)
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func TestOpenReturnsTheLibrarysErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	ok(t, os.WriteFile(text, []byte(strings.Repeat("some text\n", 999)), 0o600))
	for path, want := range map[string]error{
		dir:                           ErrNotRegularFile,
		"":                            ErrInvalidPath,
		dir + "/a\x00b":               ErrInvalidPath,
		dir + "/missing/metadata.db":  fs.ErrNotExist,
		dir + "/missing/metadata2.db": syscall.ENOENT,
		text:                          ErrNotAStore,
	} {
		store, err := Open(path)
		if store != nil || !errors.Is(err, want) {
			t.Errorf("%q: %v, %v", path, store, err)
		}
	}
}

func TestReadOnlyStoreRefusesWrites(t *testing.T) {
	path := newPath(t)
	_, err := Open(path, WithReadOnly())
	wantError(t, err, ErrNoSuchFile)
	store := openStore(t, path)
	info := add(t, store, DeviceInfo{Name: "dev"})
	ok(t, store.Close())
	store = openStore(t, path, WithReadOnly())
	expect(t, store, info)
	wantError(t, store.AddDevice(ctx, &DeviceInfo{Name: "new"}), ErrReadOnly)
	wantError(t, store.UpdateDevice(ctx, "dev", func(*DeviceInfo) error { return nil }), ErrReadOnly)
	wantError(t, store.RemoveDevice(ctx, "dev"), ErrReadOnly)
	wantError(t, store.MarkFaulty(ctx, "dev"), ErrReadOnly)
	wantError(t, store.ChangeDeviceState(ctx, "dev", Created), ErrReadOnly)
}

func TestOptionsReachTheLibrary(t *testing.T) {
	store := newStore(t, WithMapSize(64<<20), WithMaxReaders(300), WithLockWait(time.Nanosecond),
		WithVerify(VerifyQuick), WithDurability(DurabilityRelaxed))
	add(t, store, DeviceInfo{Name: "dev"})
	ok(t, store.Sync())
	stats, err := store.Stats()
	ok(t, err)
	if stats.MapSize != 64<<20 || stats.MaxReaders != 300 || stats.Devices != 1 || stats.LastID != 1 ||
		stats.Commits == 0 || stats.FileSize == 0 || stats.MapUsed > stats.FileSize ||
		stats.PageSize < 4096 {
		t.Errorf("%+v", stats)
	}
	if store.lockWait != time.Millisecond {
		t.Errorf("the lock wait is %v", store.lockWait)
	}
	for name, bad := range map[string]Option{
		"no lock wait":       WithLockWait(0),
		"negative lock wait": WithLockWait(-time.Second),
		"map size":           WithMapSize(1 << 60),
		"readers":            WithMaxReaders(1 << 30),
		"verify":             WithVerify(9),
		"durability":         WithDurability(-1),
	} {
		if store, err := Open(newPath(t), bad); store != nil || !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%s: %v, %v", name, store, err)
		}
	}
}

func TestVersions(t *testing.T) {
	if Version() == "" || !strings.HasPrefix(LMDBVersion(), "LMDB 0.9.") {
		t.Errorf("%q, %q", Version(), LMDBVersion())
	}
}

// everyCall calls every method and returns the errors.
func everyCall(store *PoolMetadata) map[string]error {
	_, get := store.GetDevice(ctx, "dev")
	_, record := store.GetRecord("dev")
	_, names := store.GetDeviceNames(ctx)
	_, stats := store.Stats()
	u, begin := store.BeginUpdate("dev")
	if u != nil {
		u.Abort()
	}
	nothing := func(*DeviceInfo) error { return nil }
	return map[string]error{
		"AddDevice":         store.AddDevice(ctx, &DeviceInfo{Name: "new"}),
		"GetDevice":         get,
		"GetRecord":         record,
		"GetDeviceNames":    names,
		"Stats":             stats,
		"BeginUpdate":       begin,
		"UpdateDevice":      store.UpdateDevice(ctx, "dev", nothing),
		"ChangeDeviceState": store.ChangeDeviceState(ctx, "dev", Created),
		"MarkFaulty":        store.MarkFaulty(ctx, "dev"),
		"RemoveDevice":      store.RemoveDevice(ctx, "dev"),
		"WalkDevices":       store.WalkDevices(ctx, nothing),
		"Verify":            store.Verify(),
		"Sync":              store.Sync(),
		"Apply":             store.Apply(nil),
	}
}

func TestForgottenStoreIsClosed(t *testing.T) {
	path := newPath(t)
	func() {
		store, err := Open(path)
		ok(t, err)
		add(t, store, DeviceInfo{Name: "dev"})
	}()
	var store *PoolMetadata
	eventually(t, func() bool {
		var err error
		if store, err = Open(path); err != nil {
			wantError(t, err, ErrAlreadyOpen)
		}
		return err == nil
	})
	// The handle of the first store is closed only once: this store is not affected.
	for range 20 {
		runtime.GC()
	}
	_, err := store.GetDevice(ctx, "dev")
	ok(t, err)
	ok(t, store.Close())
}

// A call is the last reference to its store: the garbage collector must not close it yet.
func TestStoreLivesAsLongAsItsCalls(t *testing.T) {
	for range 30 {
		store, err := Open(newPath(t))
		ok(t, err)
		add(t, store, DeviceInfo{Name: "dev"})
		ok(t, store.UpdateDevice(ctx, "dev", func(*DeviceInfo) error {
			runtime.GC()
			runtime.GC()
			return nil
		}))
		iteration := store.Devices()
		store = nil
		runtime.GC()
		for _, err := range iteration {
			runtime.GC()
			ok(t, err)
		}
	}
}
