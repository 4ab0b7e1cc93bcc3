package poolmetadata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sameStore checks that two stores have equal devices and ids.
func sameStore(t testing.TB, a, b *PoolMetadata) {
	t.Helper()
	devicesA, idsA, err := a.Snapshot()
	ok(t, err)
	devicesB, idsB, err := b.Snapshot()
	ok(t, err)
	if !reflect.DeepEqual(devicesA, devicesB) || !reflect.DeepEqual(idsA, idsB) {
		t.Errorf("%d devices, %v\n%d devices, %v", len(devicesA), idsA, len(devicesB), idsB)
	}
}

func TestBackupHasContentsOfStore(t *testing.T) {
	store := newStore(t)
	livedIn(t, store)
	for _, opts := range [][]BackupOption{nil, {BackupCompact()}, {BackupUnchecked()},
		{BackupCompact(), BackupOverwrite()}} {
		path := newPath(t)
		ok(t, store.Backup(ctx, path, opts...))
		info, err := os.Stat(path)
		ok(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		backup := openStore(t, path)
		sameStore(t, store, backup)
	}
}

func TestBackupReturnsTheLibrarysErrors(t *testing.T) {
	store := newStore(t)
	path := newPath(t)
	ok(t, store.Backup(ctx, path))
	err := store.Backup(ctx, path)
	wantError(t, err, ErrFileExists)
	if !errors.Is(err, fs.ErrExist) || !strings.HasPrefix(err.Error(),
		"failed to back up the store: "+path) {
		t.Error(err)
	}
	err = store.Backup(ctx, filepath.Join(filepath.Dir(path), "no", "where"))
	wantError(t, err, ErrNoSuchFile)
	wantError(t, err, syscall.ENOENT)
	wantError(t, store.Backup(ctx, ""), ErrInvalidPath)
	closed, err := Open(newPath(t))
	ok(t, err)
	ok(t, closed.Close())
	wantError(t, closed.Backup(ctx, newPath(t)), ErrClosed)
}

func TestRestore(t *testing.T) {
	path, backup := newPath(t), newPath(t)
	store, err := Open(path)
	ok(t, err)
	livedIn(t, store)
	ok(t, store.Backup(ctx, backup))
	then, err := store.Stats()
	ok(t, err)
	add(t, store, DeviceInfo{Name: "since"})
	for n := range 20 {
		add(t, store, DeviceInfo{Name: fmt.Sprintf("since-%d", n)})
	}
	now, err := store.Stats()
	ok(t, err)
	_, err = Restore(backup, path)
	wantError(t, err, ErrAlreadyOpen)
	_, err = Restore(path, newPath(t))
	wantError(t, err, ErrAlreadyOpen)
	ok(t, store.Close())

	result, err := Restore(backup, path, WithLockWait(time.Second))
	ok(t, err)
	if want := (Restored{
		Kept:            path + ".before-restore",
		Commits:         then.Commits,
		LastID:          uint32(then.LastID),
		ReplacedCommits: now.Commits,
		ReplacedLastID:  uint32(now.LastID),
	}); *result != want || now.LastID == then.LastID {
		t.Errorf("%+v, not %+v", *result, want)
	}
	restored, old := openStore(t, path), openStore(t, result.Kept)
	_, err = restored.GetDevice(ctx, "since")
	wantError(t, err, ErrNotFound)
	_, err = old.GetDevice(ctx, "since")
	ok(t, err)

	fresh := newPath(t)
	result, err = Restore(backup, fresh)
	ok(t, err)
	if *result != (Restored{Commits: then.Commits, LastID: uint32(then.LastID)}) {
		t.Errorf("%+v", *result)
	}
	sameStore(t, restored, openStore(t, fresh))
}

func TestRestoreReturnsTheLibrarysErrors(t *testing.T) {
	path, backup := newPath(t), newPath(t)
	_, err := Restore(backup, path)
	wantError(t, err, ErrNoSuchFile)
	_, err = Restore(backup, path, WithLockWait(-1))
	wantError(t, err, ErrInvalidArgument)
	store := newStore(t)
	ok(t, store.Backup(ctx, backup))
	ok(t, os.Truncate(backup, 9000))
	_, err = Restore(backup, path)
	wantError(t, err, ErrCorrupt)
	if !strings.HasPrefix(err.Error(), "failed to restore the store: "+backup) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestCompactMakesTheFileShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool.db")
	store, err := Open(path)
	ok(t, err)
	large := DeviceInfo{Name: "large", Error: strings.Repeat("e", MaxErrorLen)}
	add(t, store, large)
	ok(t, store.RemoveDevice(ctx, "large"))
	add(t, store, DeviceInfo{Name: "small"})
	if _, _, err := Compact(path); !errors.Is(err, ErrAlreadyOpen) {
		t.Error(err)
	}
	ok(t, store.Close())
	before, after, err := Compact(path)
	if ok(t, err); before < MaxErrorLen || after > before/2 {
		t.Errorf("%d bytes, then %d", before, after)
	}
	store, err = Open(path)
	ok(t, err)
	if names, err := store.GetDeviceNames(ctx); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
	ok(t, store.Close())
	if _, _, err := Compact(path, WithLockWait(0)); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if _, _, err := Compact(path + "-none"); !errors.Is(err, ErrNoSuchFile) {
		t.Error(err)
	}
}
