package containerdtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	devmapper1 "github.com/containerd/containerd/snapshots/devmapper"
	devmapper2 "github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	bolt "go.etcd.io/bbolt"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// containerdOpens opens a file as containerd does, but with a time limit: containerd would block
// for ever.
func containerdOpens(t testing.TB, path string) *devmapper2.PoolMetadata {
	t.Helper()
	store, err := devmapper2.NewPoolMetadata(path)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	return store
}

// busyStore fills one of containerd's stores by a random sequence of the snapshotter's operations.
func busyStore(t testing.TB, store *devmapper2.PoolMetadata, random *rand.Rand, operations int) {
	t.Helper()
	ctx := context.Background()
	for i := range operations {
		name := fmt.Sprint("device-", random.IntN(1+operations/4))
		var err error
		switch random.IntN(7) {
		case 0, 1, 2:
			info := devmapper2.DeviceInfo{Name: name, ParentName: "base", Size: uint64(i),
				State: devmapper2.Creating}
			if err = store.AddDevice(ctx, &info); errors.Is(err, devmapper2.ErrAlreadyExists) {
				err = nil
			}
		case 3:
			err = store.ChangeDeviceState(ctx, name, devmapper2.DeviceState(random.IntN(14)))
		case 4:
			err = store.MarkFaulty(ctx, name)
		case 5:
			err = store.UpdateDevice(ctx, name, func(info *devmapper2.DeviceInfo) error {
				info.Error = fmt.Sprintf("error %d: \"\u00e9\" <&>", i)
				return nil
			})
		default:
			err = store.RemoveDevice(ctx, name)
		}
		if err != nil && !errors.Is(err, devmapper2.ErrNotFound) {
			t.Fatal(err)
		}
	}
}

// everything is the contents of one of containerd's files.
type everything struct {
	devices  []poolmetadata.DeviceInfo
	ids      map[uint32]byte
	sequence uint32
}

func everythingIn(t testing.TB, path string) everything {
	t.Helper()
	e := everything{ids: map[uint32]byte{}}
	store, err := devmapper2.NewPoolMetadata(path)
	must(t, err)
	err = store.WalkDevices(context.Background(), func(info *devmapper2.DeviceInfo) error {
		e.devices = append(e.devices, poolmetadata.DeviceInfo{
			DeviceID: info.DeviceID, Size: info.Size, Name: info.Name, ParentName: info.ParentName,
			State: poolmetadata.DeviceState(info.State), Error: info.Error,
		})
		return nil
	})
	must(t, err, store.Close())
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	must(t, err)
	err = db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("device_ids"))
		e.sequence = uint32(bucket.Sequence())
		return bucket.ForEach(func(key, value []byte) error {
			id, err := strconv.Atoi(string(key))
			e.ids[uint32(id)] = value[0]
			return err
		})
	})
	must(t, err, db.Close())
	return e
}

// expectSame compares a store of this project with the contents of one of containerd's files. Ids
// that are taken there and have no device are faulty here: containerd has lost them.
func expectSame(t testing.TB, store *poolmetadata.PoolMetadata, want everything) (lost int) {
	t.Helper()
	devices, ids, err := store.Snapshot()
	must(t, err, store.Verify())
	if !slices.Equal(devices, want.devices) {
		t.Errorf("%d devices, or others, than containerd's %d", len(devices), len(want.devices))
	}
	if ids.LastID != want.sequence {
		t.Errorf("the last id is %d, and containerd's sequence %d", ids.LastID, want.sequence)
	}
	owned := map[uint32]bool{}
	for _, device := range devices {
		owned[device.DeviceID] = true
	}
	for id, state := range want.ids {
		_, isFree := slices.BinarySearch(ids.Free, id)
		_, isFaulty := slices.BinarySearch(ids.Faulty, id)
		isLost := state == 1 && !owned[id]
		if isLost {
			lost++
		}
		if isFree != (state == 0) || isFaulty != (state == 2 || isLost) {
			t.Errorf("id %d is free %v, faulty %v, and containerd has %d, owned %v", id, isFree, isFaulty,
				state, owned[id])
		}
	}
	return lost
}

func TestMigrationKeepsContentsOfContainerd(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	lost := 0
	for round := range 12 {
		path := filepath.Join(t.TempDir(), "metadata.db")
		theirs, err := devmapper2.NewPoolMetadata(path)
		must(t, err)
		busyStore(t, theirs, random, 20*(round+1))
		must(t, theirs.Close())
		want := everythingIn(t, path)
		ours, err := poolmetadata.NewPoolMetadata(path)
		must(t, err)
		lost += expectSame(t, ours, want)
		must(t, ours.Close())
	}
	if lost == 0 {
		t.Error("no sequence has made containerd lose an id: the rule for those was not tested")
	}
}

// The stock containerd can use an exported file like its own, and the file can be migrated again.
func TestContainerdUsesExport(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	first, err := devmapper2.NewPoolMetadata(filepath.Join(dir, "metadata.db"))
	must(t, err)
	busyStore(t, first, rand.New(rand.NewPCG(3, 4)), 300)
	names, err := first.GetDeviceNames(ctx)
	must(t, err)
	for i := 0; i < len(names); i += 2 {
		must(t, first.RemoveDevice(ctx, names[i]))
	}
	must(t, first.Close())
	ours, err := poolmetadata.NewPoolMetadata(filepath.Join(dir, "metadata.db"))
	must(t, err)
	_, ids, err := ours.Snapshot()
	must(t, err)
	if len(ids.Free) < 12 || len(ids.Faulty) < 3 {
		t.Fatalf("the sequence should leave more free and faulty ids: %v", ids)
	}
	out := filepath.Join(dir, "out.db")
	must(t, ours.ExportBbolt(out))
	expectSame(t, ours, everythingIn(t, out))

	theirs := containerdOpens(t, out)
	next := func(name string) uint32 {
		info := devmapper2.DeviceInfo{Name: name, State: devmapper2.Created}
		must(t, theirs.AddDevice(ctx, &info))
		return info.DeviceID
	}
	// containerd assigns free ids in the order of their decimal texts, then new ones.
	texts := make([]string, len(ids.Free))
	for i, id := range ids.Free {
		texts[i] = strconv.Itoa(int(id))
	}
	slices.Sort(texts)
	for i, text := range texts {
		if id := next(fmt.Sprint("new-", i)); strconv.Itoa(int(id)) != text {
			t.Errorf("containerd takes id %d, not %s", id, text)
		}
	}
	for i := uint32(1); i <= 2; i++ {
		if id := next(fmt.Sprint("beyond-", i)); id != ids.LastID+i {
			t.Errorf("containerd takes id %d, not %d", id, ids.LastID+i)
		}
	}
	must(t, theirs.ChangeDeviceState(ctx, "new-0", devmapper2.Activated),
		theirs.MarkFaulty(ctx, "new-1"),
		theirs.RemoveDevice(ctx, "new-2"))
	again := devmapper2.DeviceInfo{Name: "new-1"}
	must(t, theirs.AddDevice(ctx, &again), theirs.Close())

	want := everythingIn(t, out)
	back, err := poolmetadata.NewPoolMetadata(out)
	must(t, err)
	expectSame(t, back, want)
	must(t, back.Close(), ours.Close())
}

// containerd 1.7 has the same files.
func TestContainerd17UsesExport(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	ours, err := poolmetadata.NewPoolMetadata(filepath.Join(dir, "ours.db"))
	must(t, err)
	for _, name := range []string{"a", "b", "c"} {
		must(t, ours.AddDevice(ctx, &poolmetadata.DeviceInfo{Name: name, Size: 7,
			State: poolmetadata.Activated}))
	}
	must(t, ours.RemoveDevice(ctx, "b"), ours.MarkFaulty(ctx, "c"))
	out := filepath.Join(dir, "out.db")
	must(t, ours.ExportBbolt(out), ours.Close())
	theirs, err := devmapper1.NewPoolMetadata(out)
	must(t, err)
	info, err := theirs.GetDevice(ctx, "a")
	must(t, err)
	if want := (devmapper1.DeviceInfo{DeviceID: 1, Size: 7, Name: "a",
		State: devmapper1.Activated}); *info != want {
		t.Errorf("%+v, not %+v", *info, want)
	}
	for _, id := range []uint32{2, 4} {
		info := devmapper1.DeviceInfo{Name: fmt.Sprint("new-", id)}
		must(t, theirs.AddDevice(ctx, &info))
		if info.DeviceID != id {
			t.Errorf("id %d, not %d", info.DeviceID, id)
		}
	}
	must(t, theirs.Close())
	want := everythingIn(t, out)
	back, err := poolmetadata.NewPoolMetadata(out)
	must(t, err)
	expectSame(t, back, want)
	must(t, back.Close())
}

// While containerd runs, its file is left unchanged.
func TestMigrationLeavesFileOfRunningContainerd(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "metadata.db")
	theirs := containerdOpens(t, path)
	must(t, theirs.AddDevice(ctx, &devmapper2.DeviceInfo{Name: "one"}))
	_, err := poolmetadata.Migrate(path, poolmetadata.MigrateLockWait(100*time.Millisecond))
	if !errors.Is(err, poolmetadata.ErrTimeout) {
		t.Errorf("%v", err)
	}
	must(t, theirs.AddDevice(ctx, &devmapper2.DeviceInfo{Name: "two"}), theirs.Close())
	want := everythingIn(t, path)
	ours, err := poolmetadata.NewPoolMetadata(path)
	must(t, err)
	expectSame(t, ours, want)
	must(t, ours.Close())
}
