package containerdtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	snapshotKind "github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// TestRefusals has the values that containerd's store accepts and ours refuses, each with its
// error.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", poolmetadata.MaxNameLen+1)
	for what, refused := range map[string]struct {
		device device
		err    error
	}{
		"a name with a NUL":       {device{Name: "a\x00b"}, poolmetadata.ErrInvalidName},
		"a name too long":         {device{Name: long}, poolmetadata.ErrInvalidName},
		"a parent's with a NUL":   {device{Name: "a", Parent: "b\x00"}, poolmetadata.ErrInvalidName},
		"a parent's too long":     {device{Name: "a", Parent: long}, poolmetadata.ErrInvalidName},
		"a state beyond the last": {device{Name: "a", State: 14}, poolmetadata.ErrInvalidState},
		"a state below the first": {device{Name: "a", State: -1}, poolmetadata.ErrInvalidState},
		"a state beyond 32 bits":  {device{Name: "a", State: 1 << 32}, poolmetadata.ErrInvalidState},
		"an error text too long": {
			device{Name: "a", Error: strings.Repeat("x", poolmetadata.MaxErrorLen+1)},
			poolmetadata.ErrTooLong,
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPair(t, openContainerd2)
			d := refused.device
			p.must(p.theirs.Add(&d))
			d = refused.device
			if err := p.ours.Add(&d); !errors.Is(err, refused.err) ||
				!errors.Is(err, errdefs.ErrInvalidArgument) {
				t.Errorf("adding: %v, want %v", err, refused.err)
			}
			if d != refused.device {
				t.Errorf("the device is now %+v", d)
			}
			if refused.device.Name != "a" {
				return
			}
			// An update with such a value fails too, and leaves the device unchanged.
			p.must(p.ours.Add(&device{Name: "a", Size: 1}))
			err := p.ours.Update("a", func(d *device) error {
				d.Parent, d.State, d.Error = refused.device.Parent, refused.device.State, refused.device.Error
				return nil
			})
			if !errors.Is(err, refused.err) {
				t.Errorf("updating: %v, want %v", err, refused.err)
			}
			if d, err := p.ours.Get("a"); err != nil || d != (device{ID: 1, Name: "a", Size: 1}) {
				t.Errorf("the device is now %+v, %v", d, err)
			}
		})
	}
}

// TestBytes shows that ours keeps the bytes of texts, whereas containerd's JSON replaces those that
// are not valid UTF-8.
func TestBytes(t *testing.T) {
	p := newPair(t, openContainerd2)
	want := device{ID: 1, Name: "n\xff", Parent: "p\xfe", Error: "e\x80"}
	for _, s := range []store{p.theirs, p.ours} {
		d := want
		p.must(s.Add(&d))
	}
	theirs, err := p.theirs.Get(want.Name)
	p.must(err)
	if theirs != (device{ID: 1, Name: "n\ufffd", Parent: "p\ufffd", Error: "e\ufffd"}) {
		t.Errorf("theirs: %+v", theirs)
	}
	ours, err := p.ours.Get(want.Name)
	p.must(err)
	if ours != want {
		t.Errorf("ours: %+v", ours)
	}
}

// TestFailedAdd shows that ours leaves the caller's device unchanged when it is not added.
func TestFailedAdd(t *testing.T) {
	p := newPair(t, openContainerd2)
	theirs, ours := device{ID: 77}, device{ID: 77}
	p.sameError(p.theirs.Add(&theirs), p.ours.Add(&ours))
	if theirs.ID != 1 || ours.ID != 77 {
		t.Errorf("the ids are %d and %d", theirs.ID, ours.ID)
	}
}

// TestReplacedFaultyDevice shows that the id of a device that was only put into the state Faulty,
// and then replaced, is faulty in ours. In containerd's it stays taken, without an owner.
func TestReplacedFaultyDevice(t *testing.T) {
	p := newPair(t, openContainerd2)
	for _, s := range []store{p.theirs, p.ours} {
		p.must(s.Add(&device{Name: "a"}))
		p.must(s.ChangeState("a", 13))
		p.must(s.Add(&device{Name: "a"}))
	}
	_, ids, err := p.native().Snapshot()
	p.must(err)
	if ids.LastID != 2 || len(ids.Free) != 0 || len(ids.Faulty) != 1 || ids.Faulty[0] != 1 {
		t.Errorf("ours: %+v", ids)
	}
	p.close()
	if theirs := p.readBolt(p.theirPath()); theirs.last != 2 || theirs.ids[1] != idTaken {
		t.Errorf("theirs: %+v", theirs.ids)
	}
}

// TestSecondOpen shows that a second open of the same file in one process, which is what containerd
// does when the pool was missing at first, is an error at once. containerd's own store blocks for
// ever.
func TestSecondOpen(t *testing.T) {
	p := newPair(t, openContainerd2)
	if _, err := openOurs(p.ourPath()); !errors.Is(err, poolmetadata.ErrAlreadyOpen) {
		t.Errorf("%v", err)
	}
}

// TestSnapshotsFile opens the wrong one of the two files that the snapshotter has in its directory:
// metadata.db, with the names of snapshots. It is refused, and left unchanged.
func TestSnapshotsFile(t *testing.T) {
	path := filepath.Join(scratch(t), "metadata.db")
	snapshots, err := storage.NewMetaStore(path)
	must(t, err)
	must(t, snapshots.WithTransaction(context.Background(), true, func(ctx context.Context) error {
		_, err := storage.CreateSnapshot(ctx, snapshotKind.KindActive, "key", "")
		return err
	}))
	must(t, snapshots.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	if _, err := openOurs(path); !errors.Is(err, poolmetadata.ErrBboltFile) {
		t.Errorf("opening it: %v", err)
	} else {
		t.Log(err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if left, _ := filepath.Glob(path + "*"); !bytes.Equal(before, after) || len(left) != 1 {
		t.Errorf("it has changed, or there are more files now: %q", left)
	}
}
