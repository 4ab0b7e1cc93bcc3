package poolmetadata

import (
	"testing"
	"time"
)

func TestSalvageOfSoundStoreIsComplete(t *testing.T) {
	path, destination := newPath(t), newPath(t)
	store, err := Open(path)
	ok(t, err)
	livedIn(t, store)
	stats, err := store.Stats()
	ok(t, err)
	ok(t, store.Close())
	found, err := Salvage(path, destination, 0)
	ok(t, err)
	if found.Commits != stats.Commits || uint64(found.LastID) != stats.LastID {
		t.Errorf("%+v of %+v", found, stats)
	}
	if !found.Complete || found.Devices != 32 || found.Recovered != 0 || found.LostPages != 0 ||
		found.Report.Total != 0 {
		t.Errorf("%+v", found)
	}
	sameStore(t, openStore(t, path), openStore(t, destination))
}

func TestSalvageReportsDamage(t *testing.T) {
	path, destination := damagedStore(t), newPath(t)
	found, err := Salvage(path, destination, 5, WithLockWait(time.Second))
	ok(t, err)
	if found.Complete || found.Devices != 32 {
		t.Errorf("%+v", found)
	}
	if first := found.Report.Findings[0]; first.Kind != FindingRecordDamaged ||
		first.Name != "broken" {
		t.Errorf("%#v", first)
	}
}

func TestSalvageReturnsErrors(t *testing.T) {
	path, destination := newPath(t), newPath(t)
	_, err := Salvage(path, destination, 0)
	wantError(t, err, ErrNoSuchFile)
	_, err = Salvage(path, destination, -1)
	wantError(t, err, ErrInvalidArgument)
	_, err = Salvage(path, destination, 0, WithLockWait(0))
	wantError(t, err, ErrInvalidArgument)
}
