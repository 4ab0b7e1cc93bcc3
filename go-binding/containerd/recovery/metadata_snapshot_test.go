//go:build linux

package recovery

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// Whatever fails between the reservation and the list, the metadata snapshot is released.
func TestMetadataSnapshotIsReleasedWhateverFails(t *testing.T) {
	for what, c := range map[string]struct {
		before func(k *thin, cancel func(), ctx context.Context, call string) error
		want   string
	}{
		"thin_ls fails": {func(_ *thin, _ func(), _ context.Context, call string) error {
			if call == list {
				return errors.New("the metadata is damaged")
			}
			return nil
		}, "the metadata is damaged"},
		"thin_ls hangs until the snapshotter stops": {func(
			_ *thin, cancel func(), ctx context.Context, call string,
		) error {
			if call != list {
				return nil
			}
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}, ""},
		"the snapshotter stops before thin_ls": {func(
			_ *thin, cancel func(), _ context.Context, call string,
		) error {
			if call == reserve {
				cancel()
			}
			return nil
		}, ""},
		"the reservation takes too long, and is made": {func(
			k *thin, _ func(), _ context.Context, call string,
		) error {
			if call == reserve {
				k.status[3] = "25"
				return context.DeadlineExceeded
			}
			return nil
		}, "deadline exceeded"},
		"the reservation takes too long, and is not made": {func(
			_ *thin, _ func(), _ context.Context, call string,
		) error {
			if call == reserve {
				return context.DeadlineExceeded
			}
			return nil
		}, "deadline exceeded"},
	} {
		p, k := newThin(t, snap(1, activated))
		ctx, cancel := context.WithCancel(t.Context())
		k.before = func(running context.Context, call string) error {
			return c.before(k, cancel, running, call)
		}
		p.Compare(ctx)
		cancel()
		if logged := p.logged.String(); !strings.Contains(logged, c.want) ||
			c.want == "" && logged != "" {
			t.Errorf("%s: the log has %s", what, logged)
		}
		p.noSnapshot(t, k)
	}
	for _, text := range []string{"x\n", "1 2\n", "-1\n", "4294967296\n"} {
		p, k := newThin(t, snap(1, activated))
		k.list = text
		if p.Compare(t.Context()); !strings.Contains(p.logged.String(), "which is no id") {
			t.Errorf("%q: the log has %s", text, &p.logged)
		}
		p.noSnapshot(t, k)
	}
}

// A process that is killed leaves the metadata snapshot, and so does a power cut. The next start
// releases it.
func TestMetadataSnapshotOfKilledProcessIsReleased(t *testing.T) {
	for _, c := range []struct {
		killedAt, root, boot string
		released             bool
		want                 string
	}{
		{"status", "25", "first", false, "perhaps left by a comparison that was interrupted"},
		{"status", "25", "second", true, "have the same devices"},
		{"status", "25", "", false, "perhaps left by a comparison that was interrupted"},
		{list, "25", "first", true, "have the same devices"},
		{list, "25", "second", true, "have the same devices"},
		// Somebody has released it by hand meanwhile, and another program has one now.
		{list, "26", "first", false, "which another program uses"},
		{list, "26", "second", false, "which another program uses"},
		{list, "-", "first", true, "have the same devices"},
	} {
		p, k := newThin(t, snap(1, activated))
		k.list = "1\n"
		// Nothing that comes after the kill happens: neither a release, nor a note of it.
		p.pool.boot = "first"
		var killed []byte
		k.before = func(_ context.Context, call string) (err error) {
			if k.status[3] != "-" && strings.Contains(call, c.killedAt) && killed == nil {
				killed, err = os.ReadFile(p.pool.notes.path)
			}
			return err
		}
		p.Compare(t.Context())
		write(t, p.pool.notes.path, string(killed))
		k.status[3], k.before, k.calls = c.root, nil, nil
		p.pool.boot = c.boot
		p.logged.Reset()
		p.Compare(t.Context())
		if !strings.Contains(p.logged.String(), c.want) {
			t.Errorf("%+v: the log has %s", c, &p.logged)
		}
		if c.released {
			p.noSnapshot(t, k)
		} else if k.status[3] != c.root || slices.Contains(k.calls, release) {
			t.Errorf("%+v: the pool has the metadata snapshot %s; calls %q", c, k.status[3], k.calls)
		}
	}
}

func TestMetadataSnapshotThatCannotBeReleasedIsNoted(t *testing.T) {
	for _, stops := range []bool{false, true} {
		p, k := newThin(t, snap(1, activated))
		k.list = "1\n"
		ctx, cancel := context.WithCancel(t.Context())
		k.before = func(_ context.Context, call string) error {
			if call == list && stops {
				cancel()
			}
			if call == release {
				return errors.New("Input/output error")
			}
			return nil
		}
		p.Compare(ctx)
		cancel()
		want := "type: dmsetup message pool 0 release_metadata_snap"
		if !strings.Contains(p.logged.String(), want) {
			t.Errorf("the log has %s", &p.logged)
		}
		k.before = nil
		p.Compare(t.Context())
		p.noSnapshot(t, k)
	}
}
