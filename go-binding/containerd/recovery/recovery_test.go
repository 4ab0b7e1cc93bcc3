//go:build linux

package recovery

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"go.etcd.io/bbolt"
)

// writeMetadata writes the snapshotter's metadata: the number that was given out last, and those of
// the snapshots that are there.
func writeMetadata(t *testing.T, path string, last uint64, numbers ...uint64) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		version, err := tx.CreateBucketIfNotExists([]byte("v1"))
		if err != nil {
			return err
		}
		bucket, err := version.CreateBucketIfNotExists([]byte("snapshots"))
		if err != nil {
			return err
		}
		for _, number := range numbers {
			snapshot, err := bucket.CreateBucket(fmt.Appendf(nil, "key-%d", number))
			if err != nil {
				return err
			}
			if err := snapshot.Put([]byte("id"), binary.AppendUvarint(nil, number)); err != nil {
				return err
			}
		}
		return bucket.SetSequence(last)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pool is a recovery of a new store, with a device mapper that notes calls and has these devices.
type pool struct {
	*Recovery
	active []string
	// mounted makes the unmount fail.
	mounted bool
	failed  map[string]error
	calls   []string
	logged  bytes.Buffer
}

func newPool(t *testing.T, devices ...poolmetadata.DeviceInfo) *pool {
	t.Helper()
	p := &pool{failed: map[string]error{}}
	path := filepath.Join(t.TempDir(), "pool.db")
	store, err := poolmetadata.NewPoolMetadata(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for _, device := range devices {
		if err := store.AddDevice(t.Context(), &device); err != nil {
			t.Fatal(err)
		}
	}
	p.Recovery = newRecovery(path, store)
	p.Recovery.pool.run, p.unmount = p.call, p.tryUnmount
	p.log = slog.New(slog.NewTextHandler(&p.logged, nil))
	return p
}

func (p *pool) call(_ context.Context, program string, arguments ...string) (string, error) {
	if program != "dmsetup" {
		return "", fmt.Errorf("what is %s?", program)
	}
	if arguments[0] == "info" {
		if !slices.Contains(p.active, arguments[1]) {
			return "", errors.New("Device does not exist")
		}
		return "", nil
	}
	p.calls = append(p.calls, strings.Join(arguments, " "))
	return "", p.failed[arguments[0]]
}

func (p *pool) tryUnmount(device string) error {
	if p.mounted {
		return errors.New("umount: device or resource busy")
	}
	p.calls = append(p.calls, "umount "+device)
	return nil
}

func (p *pool) names(t *testing.T) []string {
	t.Helper()
	names, err := p.store.GetDeviceNames(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func snap(number int, state poolmetadata.DeviceState) poolmetadata.DeviceInfo {
	return poolmetadata.DeviceInfo{Name: fmt.Sprintf("pool-snap-%d", number), State: state}
}

const activated = poolmetadata.Activated

func TestInterruptedPrepareIsTakenBack(t *testing.T) {
	for _, state := range []poolmetadata.DeviceState{
		poolmetadata.Created, poolmetadata.Activating, activated, poolmetadata.Removing,
		poolmetadata.Removed,
	} {
		for _, active := range []bool{false, true} {
			p := newPool(t, snap(1, activated), snap(3, activated), snap(4, state))
			writeMetadata(t, p.metadata, 3, 1, 3)
			want := []string{"message /dev/mapper/pool 0 delete 3"}
			if active {
				p.active = []string{"pool-snap-1", "pool-snap-4"}
				want = slices.Insert(want, 0, "umount /dev/mapper/pool-snap-4",
					"remove --retry pool-snap-4")
			}
			if err := p.takeBackLeftover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(p.calls, want) {
				t.Errorf("%v: calls %q, want %q", state, p.calls, want)
			}
			if got := p.names(t); !slices.Equal(got, []string{"pool-snap-1", "pool-snap-3"}) {
				t.Errorf("%v: the store has %q", state, got)
			}
			if !strings.Contains(p.logged.String(), "took back") {
				t.Errorf("%v: the log has %s", state, &p.logged)
			}
			// A second start finds nothing to do, and a new device of that name is possible.
			p.calls = nil
			again := snap(4, activated)
			if err := p.takeBackLeftover(t.Context()); err != nil || len(p.calls) > 0 {
				t.Errorf("%v: again: %v, %q", state, err, p.calls)
			}
			if err := p.store.AddDevice(t.Context(), &again); err != nil {
				t.Errorf("%v: %v", state, err)
			}
		}
	}
}

// Every case in which nothing may be removed.
func TestDevicesAreKept(t *testing.T) {
	child := snap(5, activated)
	child.ParentName = "pool-snap-4"
	odd := func(name string) poolmetadata.DeviceInfo {
		return poolmetadata.DeviceInfo{Name: name, State: activated}
	}
	for what, c := range map[string]struct {
		devices []poolmetadata.DeviceInfo
		write   func(path string)
		logged  string
	}{
		"nothing is left over": {[]poolmetadata.DeviceInfo{snap(3, activated)},
			func(path string) { writeMetadata(t, path, 3, 3) }, ""},
		"metadata is missing": {[]poolmetadata.DeviceInfo{snap(1, activated)},
			func(string) {}, "does not exist"},
		"metadata is an empty file": {[]poolmetadata.DeviceInfo{snap(1, activated)},
			func(path string) { write(t, path, "") }, "is empty"},
		"metadata is damaged": {[]poolmetadata.DeviceInfo{snap(1, activated)},
			func(path string) { write(t, path, strings.Repeat("x", 1<<16)) }, "invalid database"},
		"metadata has no buckets": {[]poolmetadata.DeviceInfo{snap(1, activated)},
			func(path string) {
				db, err := bbolt.Open(path, 0o600, nil)
				if err != nil {
					t.Fatal(err)
				}
				db.Close()
			}, "has had no snapshot"},
		"metadata has had no snapshot": {[]poolmetadata.DeviceInfo{snap(1, activated)},
			func(path string) { writeMetadata(t, path, 0) }, "has had no snapshot"},
		"metadata is older by two": {
			[]poolmetadata.DeviceInfo{snap(3, activated), snap(4, activated), snap(5, activated)},
			func(path string) { writeMetadata(t, path, 3, 3) }, "is older than the store"},
		"metadata is far older": {[]poolmetadata.DeviceInfo{snap(9, activated)},
			func(path string) { writeMetadata(t, path, 3, 3) }, "is older than the store"},
		"the device has a child": {[]poolmetadata.DeviceInfo{snap(4, activated),
			{Name: "pool-snap-2", ParentName: "pool-snap-4", State: activated}},
			func(path string) { writeMetadata(t, path, 3, 2) }, "is a snapshot of it"},
		"the device is beyond, with a child": {[]poolmetadata.DeviceInfo{snap(4, activated), child},
			func(path string) { writeMetadata(t, path, 3) }, "is older than the store"},
		"a removed snapshot's device": {[]poolmetadata.DeviceInfo{snap(2, activated)},
			func(path string) { writeMetadata(t, path, 3, 3) }, "no snapshot has it"},
		"a device that waits for clean-up": {[]poolmetadata.DeviceInfo{snap(2, poolmetadata.Removed)},
			func(path string) { writeMetadata(t, path, 3, 3) }, "key-3"},
		"faulty":         {[]poolmetadata.DeviceInfo{snap(4, poolmetadata.Faulty)}, three(t), "key-3"},
		"unknown":        {[]poolmetadata.DeviceInfo{snap(4, poolmetadata.Unknown)}, three(t), "key-3"},
		"creating":       {[]poolmetadata.DeviceInfo{snap(4, poolmetadata.Creating)}, three(t), "key-3"},
		"another pool":   {[]poolmetadata.DeviceInfo{odd("other-snap-4")}, three(t), "its name is not"},
		"leading zeroes": {[]poolmetadata.DeviceInfo{odd("pool-snap-04")}, three(t), "its name is not"},
		"not a number":   {[]poolmetadata.DeviceInfo{odd("pool-snap-x")}, three(t), "its name is not"},
		"over 64 bits": {[]poolmetadata.DeviceInfo{odd("pool-snap-18446744073709551616")}, three(t),
			"its name"},
		"a sign":        {[]poolmetadata.DeviceInfo{odd("pool-snap-+4")}, three(t), "its name is not"},
		"an operator's": {[]poolmetadata.DeviceInfo{odd("mine")}, three(t), "its name is not"},
		"the last number": {[]poolmetadata.DeviceInfo{odd("pool-snap-18446744073709551615")}, three(t),
			"older"},
	} {
		p := newPool(t, c.devices...)
		c.write(p.metadata)
		before := p.names(t)
		if err := p.takeBackLeftover(t.Context()); err != nil {
			p.logged.WriteString(err.Error())
		}
		if got := p.names(t); !slices.Equal(got, before) || len(p.calls) > 0 {
			t.Errorf("%s: the store has %q, before %q; calls %q", what, got, before, p.calls)
		}
		if c.logged == "" && p.logged.Len() > 0 || !strings.Contains(p.logged.String(), c.logged) {
			t.Errorf("%s: the log has %q, want %q", what, &p.logged, c.logged)
		}
	}
}

func TestSnapshotWithoutDeviceIsLogged(t *testing.T) {
	for _, devices := range [][]poolmetadata.DeviceInfo{nil, {snap(2, activated)}} {
		p := newPool(t, devices...)
		writeMetadata(t, p.metadata, 3, 2, 3)
		if err := p.takeBackLeftover(t.Context()); err != nil {
			t.Fatal(err)
		}
		logged := p.logged.String()
		if !strings.Contains(logged, "no device in the store") ||
			!strings.Contains(logged, "key=key-3") ||
			strings.Contains(logged, "key=key-2") != (devices == nil) {
			t.Errorf("%v: the log has %q", devices, logged)
		}
	}
}

func three(t *testing.T) func(string) {
	return func(path string) { writeMetadata(t, path, 3, 3) }
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMetadataInUseIsLeftAlone(t *testing.T) {
	p := newPool(t, snap(4, activated))
	writeMetadata(t, p.metadata, 3, 3)
	db, err := bbolt.Open(p.metadata, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := p.takeBackLeftover(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
	if got := p.names(t); len(got) != 1 || len(p.calls) > 0 {
		t.Errorf("the store has %q; calls %q", got, p.calls)
	}
}

// What fails leaves the record, so that the next start tries again.
func TestFailedTakeBackKeepsRecord(t *testing.T) {
	for call, want := range map[string]string{
		"remove": "cannot be deactivated", "message": "cannot be deleted", "umount": "is mounted",
	} {
		p := newPool(t, snap(4, activated))
		writeMetadata(t, p.metadata, 3, 3)
		p.active = []string{"pool-snap-4"}
		p.failed[call], p.mounted = errors.New("Device or resource busy"), call == "umount"
		if err := p.takeBackLeftover(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", call, err)
		}
		if got := p.names(t); len(got) != 1 {
			t.Errorf("%s: the store has %q", call, got)
		}
		// A run that was interrupted after the deletion finds no such device in the pool.
		p.failed[call] = errors.New("message ioctl failed: No data available")
		p.mounted = false
		if call == "remove" {
			p.active = nil
		}
		if err := p.takeBackLeftover(t.Context()); err != nil || len(p.names(t)) != 0 {
			t.Errorf("%s: again: %v, %q", call, err, p.names(t))
		}
	}
}

func TestUnmountOfDeviceThatIsNotMounted(t *testing.T) {
	if err := unmount("/dev/mapper/no-such-device"); err != nil {
		t.Error(err)
	}
}

func TestTemporaryMountsAreThoseOfTheDevice(t *testing.T) {
	table := "/dev/mapper/a /tmp/containerd-mount1 ext4 rw 0 0\n" +
		"/dev/mapper/ab /other ext4 rw 0 0\n" +
		`/dev/mapper/a /with\040a\011tab\134/containerd-mount2 ext4 rw 0 0` + "\n/dev/mapper/a\n"
	want := []string{"/tmp/containerd-mount1", "/with a\ttab\\/containerd-mount2"}
	got, err := temporaryMounts(table, "/dev/mapper/a")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestDeviceThatIsMountedElsewhereStaysMounted(t *testing.T) {
	table := "/dev/mapper/a /tmp/containerd-mount1 ext4 rw 0 0\n" +
		"/dev/mapper/a /run/containerd/rootfs ext4 rw 0 0\n"
	got, err := temporaryMounts(table, "/dev/mapper/a")
	if err == nil || !strings.Contains(err.Error(), "/run/containerd/rootfs") || got != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNewStoreNeedsNoMetadata(t *testing.T) {
	p := newPool(t)
	if err := p.takeBackLeftover(t.Context()); err != nil || p.logged.Len() > 0 {
		t.Errorf("%v, %s", err, &p.logged)
	}
	if _, err := os.Stat(p.metadata); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the metadata was made: %v", err)
	}
}

// Run must not end the snapshotter's start, whatever happens.
func TestRunLogsWhatFails(t *testing.T) {
	p := newPool(t, snap(4, activated))
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(p.log)
	Start(t.Context(), p.path, p.store)
	if !strings.Contains(p.logged.String(), "was not compared") {
		t.Errorf("the log has %s", &p.logged)
	}
}
