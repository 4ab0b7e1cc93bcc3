package poolmetadata

import (
	"os"
	"testing"
	"time"
)

func TestSalvageOfASoundStore(t *testing.T) {
	path, target := newPath(t), newPath(t)
	store, err := Open(path)
	ok(t, err)
	livedIn(t, store)
	ok(t, store.Close())
	found, err := Salvage(path, target, 0)
	ok(t, err)
	if !found.Complete || found.Devices != 32 || found.Recovered != 0 || found.LostPages != 0 || found.Report.Total != 0 {
		t.Errorf("%+v", found)
	}
	sameStore(t, openStore(t, path), openStore(t, target))
}

func TestSalvageOfADamagedStore(t *testing.T) {
	path, target := damagedStore(t), newPath(t)
	found, err := Salvage(path, target, 5, WithLockWait(time.Second))
	ok(t, err)
	if found.Complete || found.Devices != 32 {
		t.Errorf("%+v", found)
	}
	if first := found.Report.Findings[0]; first.Kind != FindingRecordDamaged || first.Name != "broken" {
		t.Errorf("%#v", first)
	}
	store := openStore(t, target)
	_, err = store.GetDevice(ctx, "broken")
	wantError(t, err, ErrNotFound)
	// The lost device's id, 6, is not given out again, and none that was free: without that record,
	// nobody knows which still are.
	if next := add(t, store, DeviceInfo{Name: "next"}); next.DeviceID != 41 {
		t.Errorf("%v", next)
	}
}

func TestSalvageRefuses(t *testing.T) {
	path, target := newPath(t), newPath(t)
	_, err := Salvage(path, target, 0)
	wantError(t, err, ErrNoSuchFile)
	ok(t, os.WriteFile(path, []byte("some text of somebody's"), 0o600))
	_, err = Salvage(path, target, 0)
	wantError(t, err, ErrNotAStore)
	_, err = Salvage(path, path, 0)
	wantError(t, err, ErrFileExists)
	_, err = Salvage(path, target, -1)
	wantError(t, err, ErrInvalidArgument)
	_, err = Salvage(path, target, 0, WithLockWait(0))
	wantError(t, err, ErrInvalidArgument)
	store := newStore(t)
	backup := newPath(t)
	ok(t, store.Backup(ctx, backup))
	openStore(t, backup)
	_, err = Salvage(backup, target, 0)
	wantError(t, err, ErrAlreadyOpen)
}
