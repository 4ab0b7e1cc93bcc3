//go:build linux

package recovery

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"go.etcd.io/bbolt"
)

// start is what a start does: the recovery, and then containerd's own look at the devices, which
// activates them.
func (p *pool) start(t *testing.T) {
	t.Helper()
	p.logged.Reset()
	p.calls = nil
	if err := p.takeBackLeftover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range p.names(t) {
		p.write(t, name, activated)
	}
}

// write changes the state of an active device, as the snapshotter does.
func (p *pool) write(t *testing.T, name string, state poolmetadata.DeviceState) {
	t.Helper()
	err := p.store.UpdateDevice(t.Context(), name, func(info *poolmetadata.DeviceInfo) error {
		if state != activated || info.State == activated {
			info.State = state
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pool) remove(t *testing.T, name string) {
	t.Helper()
	if err := p.store.RemoveDevice(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// older gives the snapshotter a metadata.db without the snapshot 4, as a backup would.
func (p *pool) older(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(p.metadata); err != nil {
		t.Fatal(err)
	}
	writeMetadata(t, p.metadata, 3, 1, 2, 3)
}

// newer has every snapshot that was acknowledged.
func (p *pool) newer(t *testing.T, more ...uint64) {
	t.Helper()
	if err := os.RemoveAll(p.metadata); err != nil {
		t.Fatal(err)
	}
	writeMetadata(t, p.metadata, 4, append(more, 1, 2, 3, 4)...)
}

// commitSnapshot commits a snapshot in the snapshotter's metadata.
func commitSnapshot(t *testing.T, path string, number int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		snapshot := tx.Bucket([]byte("v1")).Bucket([]byte("snapshots")).
			Bucket(fmt.Appendf(nil, "key-%d", number))
		return snapshot.Put([]byte("kind"), []byte{kindCommitted})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The device 4 was acknowledged, and metadata.db is older by this one snapshot.
func TestMetadataOlderByOneSnapshotRemovesNothing(t *testing.T) {
	for what, c := range map[string]struct {
		happens func(t *testing.T, p *pool)
		logged  string
	}{
		"its snapshot was committed": {func(t *testing.T, p *pool) {
			p.write(t, "pool-snap-4", poolmetadata.Deactivated)
		}, "no prepare leaves it in state Deactivated"},
		"its snapshot was being committed": {func(t *testing.T, p *pool) {
			p.write(t, "pool-snap-4", poolmetadata.Suspended)
		}, "no prepare leaves it in state Suspended"},
		"another snapshot was committed later": {func(t *testing.T, p *pool) {
			p.write(t, "pool-snap-3", poolmetadata.Deactivated)
		}, `\"pool-snap-3\" was written later`},
		"another snapshot was removed later": {func(t *testing.T, p *pool) {
			p.remove(t, "pool-snap-3")
		}, `\"pool-snap-3\" was removed later`},
		"another snapshot's removal has begun": {func(t *testing.T, p *pool) {
			p.write(t, "pool-snap-3", poolmetadata.Removing)
		}, `\"pool-snap-3\" was written later`},
		"the snapshotter was stopped": {func(t *testing.T, p *pool) {
			p.newer(t)
			p.Stop()
		}, "the metadata has had the snapshot 4"},
		"the snapshotter was started": {func(t *testing.T, p *pool) {
			p.newer(t)
			p.start(t)
		}, "the metadata has had the snapshot 4"},
		"there were two such devices": {func(t *testing.T, p *pool) {
			next := snap(5, activated)
			if err := p.store.AddDevice(t.Context(), &next); err != nil {
				t.Fatal(err)
			}
			p.older(t)
			p.start(t)
			p.remove(t, next.Name)
		}, "the metadata has had the snapshot 4"},
	} {
		p := newPool(t, snap(1, activated), snap(3, activated), snap(4, activated))
		if c.happens(t, p); t.Failed() {
			t.Fatal(what)
		}
		before := p.names(t)
		p.older(t)
		// Also once containerd has started on it, which writes to the devices.
		for _, logged := range []string{c.logged, "metadata is older than the store"} {
			p.start(t)
			if got := p.names(t); !slices.Equal(got, before) || len(p.calls) > 0 {
				t.Errorf("%s: the store has %q, before %q; calls %q", what, got, before, p.calls)
			}
			if !strings.Contains(p.logged.String(), logged) {
				t.Errorf("%s: the log has %q, want %q", what, &p.logged, logged)
			}
		}
		// With the newer file back, all is well.
		p.newer(t)
		if p.start(t); strings.Contains(p.logged.String(), "pool-snap-4") {
			t.Errorf("%s: at last the log has %q", what, &p.logged)
		}
	}
}

// The prepare of the device 4 was interrupted, and what else was written shows nothing else.
func TestInterruptedPrepareIsTakenBackWhateverElseWasWritten(t *testing.T) {
	child := snap(4, activated)
	child.ParentName = "pool-snap-3"
	for what, happens := range map[string]func(t *testing.T, p *pool){
		"its parent was resumed": func(t *testing.T, p *pool) {
			commitSnapshot(t, p.metadata, 3)
			p.write(t, "pool-snap-3", poolmetadata.Resumed)
		},
		"others were committed and removed before a restart": func(t *testing.T, p *pool) {
			commitSnapshot(t, p.metadata, 3)
			p.write(t, "pool-snap-3", poolmetadata.Deactivated)
			p.remove(t, "pool-snap-0")
		},
		"containerd started without a recovery": func(t *testing.T, p *pool) {
			p.write(t, "pool-snap-1", activated)
			p.write(t, "pool-snap-4", activated)
			p.write(t, "pool-snap-2", poolmetadata.Faulty)
		},
		"a device without a snapshot is being removed": func(t *testing.T, p *pool) {
			p.write(t, "pool-snap-0", poolmetadata.Deactivated)
		},
		"a device without a snapshot was removed": func(t *testing.T, p *pool) {
			p.remove(t, "pool-snap-0")
		},
		"the metadata could not be written, and the snapshotter was stopped": func(
			t *testing.T, p *pool,
		) {
			p.Stop()
		},
		"the notes are damaged": func(t *testing.T, p *pool) {
			write(t, p.pool.notes.path, "{")
		},
		"the notes are of another store": func(t *testing.T, p *pool) {
			write(t, p.pool.notes.path, `{"last_snapshot": 9, "commit": 1000000}`)
		},
	} {
		p := newPool(t, snap(0, activated), snap(1, activated), snap(2, activated),
			snap(3, activated), child)
		p.older(t)
		if happens(t, p); t.Failed() {
			t.Fatal(what)
		}
		p.start(t)
		if slices.Contains(p.names(t), "pool-snap-4") || len(p.calls) != 1 {
			t.Errorf("%s: the store has %q; calls %q; the log has %q", what, p.names(t), p.calls,
				&p.logged)
		}
		// The same number again: it is the next prepare's.
		again := child
		if err := p.store.AddDevice(t.Context(), &again); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if p.start(t); slices.Contains(p.names(t), "pool-snap-4") {
			t.Errorf("%s: again: the log has %q", what, &p.logged)
		}
	}
}

// An operator has removed all snapshots and metadata.db with them.
func TestMetadataMadeAnewIsNotTakenForOlder(t *testing.T) {
	p := newPool(t, snap(1, activated), snap(4, activated))
	p.newer(t)
	p.start(t)
	p.remove(t, "pool-snap-1")
	p.remove(t, "pool-snap-4")
	if err := os.Remove(p.metadata); err != nil {
		t.Fatal(err)
	}
	writeMetadata(t, p.metadata, 1, 1)
	first := snap(1, activated)
	if err := p.store.AddDevice(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	leftover := snap(2, activated)
	if err := p.store.AddDevice(t.Context(), &leftover); err != nil {
		t.Fatal(err)
	}
	if p.start(t); !slices.Equal(p.names(t), []string{"pool-snap-1"}) {
		t.Errorf("the store has %q; the log has %q", p.names(t), &p.logged)
	}
}
