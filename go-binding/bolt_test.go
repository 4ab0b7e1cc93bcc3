package poolmetadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// fixture copies a bbolt file that containerd's own store has written to the path of a store.
func fixture(t testing.TB, name string) string {
	t.Helper()
	bytes, err := os.ReadFile(filepath.Join("testdata", name+".bolt"))
	ok(t, err)
	path := newPath(t)
	ok(t, os.WriteFile(path, bytes, 0o600))
	return path
}

// containerdSays returns the devices of a fixture as containerd's own store reads them.
func containerdSays(t testing.TB, name string) []DeviceInfo {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	ok(t, err)
	var said struct {
		Devices []DeviceInfo
		Keys    [][]byte
	}
	ok(t, json.Unmarshal(text, &said))
	for i := range said.Devices {
		// The key has the name even if it is not valid UTF-8; the record does not.
		said.Devices[i].Name = string(said.Keys[i])
	}
	return said.Devices
}

// names returns the names of the files beside path, and its own.
func filesAt(t testing.TB, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	ok(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// expectFiles checks that these files, and no others, are beside path.
func expectFiles(t testing.TB, path string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := filesAt(t, path); !slices.Equal(got, want) {
		t.Errorf("there are the files %q, not %q", got, want)
	}
}

// expectUntouched checks that a bbolt file is unchanged, and that no file was made beside it.
func expectUntouched(t testing.TB, path string, before []byte) {
	t.Helper()
	after, err := os.ReadFile(path)
	ok(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the bbolt file was changed")
	}
	expectFiles(t, path, filepath.Base(path))
}

func TestNewPoolMetadataMigratesBboltFile(t *testing.T) {
	path := fixture(t, "pool")
	before, err := os.ReadFile(path)
	ok(t, err)
	store, err := NewPoolMetadata(path)
	ok(t, err)
	defer store.Close()
	want := containerdSays(t, "pool")
	got, ids, err := store.Snapshot()
	ok(t, err)
	if !slices.Equal(got, want) || len(got) == 0 {
		t.Errorf("%d devices, not the %d of containerd", len(got), len(want))
	}
	checkSound(t, store)
	expectFiles(t, path, "metadata.db", "metadata.db-lock", "metadata.db.bbolt")
	if kept, _ := os.ReadFile(path + ".bbolt"); !bytes.Equal(kept, before) {
		t.Error("the file that was kept is not the one that was there")
	}
	difference, err := store.CompareBbolt(path + ".bbolt")
	if err != nil || difference != "" {
		t.Errorf("%q, %v", difference, err)
	}
	// The lowest free id comes first, and then the one after the last.
	for _, id := range append(slices.Clone(ids.Free), ids.LastID+1) {
		if info := add(t, store, DeviceInfo{Name: fmt.Sprint("new-", id)}); info.DeviceID != id {
			t.Errorf("a new device got id %d, not %d", info.DeviceID, id)
		}
	}
	if difference, err = store.CompareBbolt(path + ".bbolt"); err != nil || difference == "" {
		t.Errorf("%q, %v", difference, err)
	}
	ok(t, store.Close())
	if store, err = NewPoolMetadata(path); err != nil {
		t.Fatal(err)
	}
	ok(t, store.Close())
	expectFiles(t, path, "metadata.db", "metadata.db-lock", "metadata.db.bbolt")
}

func TestMigrateReportsContents(t *testing.T) {
	path := fixture(t, "odd")
	seen, err := InspectBbolt(path)
	ok(t, err)
	expectFiles(t, path, "metadata.db")
	var stages []string
	done, err := Migrate(path, MigrateProgress(func(stage string, done, total int) {
		if done == total && !slices.Contains(stages, stage) {
			stages = append(stages, stage)
		}
	}))
	ok(t, err)
	if done.Devices != 11 || done.IDs.LastID != 22 || len(done.IDs.Faulty) != 11 ||
		len(done.Notes) != 5 {
		t.Errorf("%+v", done)
	}
	if !slices.Equal(stages, []string{"reading", "writing", "verifying"}) {
		t.Errorf("the stages were %q", stages)
	}
	if done.Kept != path+".bbolt" || seen.Kept != "" {
		t.Errorf("kept at %q and %q", done.Kept, seen.Kept)
	}
	seen.Kept = done.Kept
	a, _ := json.Marshal(seen)
	b, _ := json.Marshal(done)
	if !bytes.Equal(a, b) {
		t.Errorf("InspectBbolt returned %s, and Migrate %s", a, b)
	}
	_, err = Migrate(path)
	wantError(t, err, ErrInvalidArgument)
	if !strings.Contains(err.Error(), "it is a store already") {
		t.Error(err)
	}
	openStore(t, path)
}

func TestMigrateOfMissingFileFails(t *testing.T) {
	path := newPath(t)
	_, err := Migrate(path)
	wantError(t, err, ErrNoSuchFile)
	_, err = InspectBbolt(path)
	wantError(t, err, ErrNoSuchFile)
	wantError(t, err, fs.ErrNotExist)
	expectFiles(t, path)
}

func TestMigrateFollowsSymbolicLink(t *testing.T) {
	path := fixture(t, "pool")
	link := filepath.Join(t.TempDir(), "link")
	ok(t, os.Symlink(path, link))
	done, err := Migrate(link)
	ok(t, err)
	if done.Kept != path+".bbolt" {
		t.Errorf("kept at %s", done.Kept)
	}
	expectFiles(t, link, "link")
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %s, %v", to, err)
	}
	openStore(t, link)
}

// A file that was kept earlier is not overwritten.
func TestMigrateKeepsEarlierKeptFiles(t *testing.T) {
	path := fixture(t, "pool")
	ok(t, os.WriteFile(path+".bbolt", []byte("earlier"), 0o600))
	ok(t, os.Symlink("nowhere", path+".bbolt.1"))
	done, err := Migrate(path)
	ok(t, err)
	if done.Kept != path+".bbolt.2" {
		t.Errorf("kept at %s", done.Kept)
	}
	expectFiles(t, path, "metadata.db", "metadata.db.bbolt", "metadata.db.bbolt.1",
		"metadata.db.bbolt.2")
	if earlier, err := os.ReadFile(path + ".bbolt"); err != nil || string(earlier) != "earlier" {
		t.Errorf("%q, %v", earlier, err)
	}
}

func TestMigrateKeepsPermissions(t *testing.T) {
	path := fixture(t, "pool")
	ok(t, os.Chmod(path, 0o640))
	_, err := Migrate(path)
	ok(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestMigrateLeavesUnfitFileUnchanged(t *testing.T) {
	damage := func(file []byte) []byte {
		for i := 2 * 4096; i < 32*4096; i++ {
			file[i] ^= 0x5a
		}
		return file
	}
	cases := map[string]struct {
		fixture string
		change  func([]byte) []byte
		want    error
		words   string
	}{
		"names": {"unfit", nil, ErrInvalidName,
			`the name of device "nul\x00in-it" has a NUL byte`},
		"pages": {"pool", damage, ErrCorrupt, "damaged"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := fixture(t, c.fixture)
			before, err := os.ReadFile(path)
			ok(t, err)
			if c.change != nil {
				before = c.change(before)
				ok(t, os.WriteFile(path, before, 0o600))
			}
			for range 2 {
				_, err = NewPoolMetadata(path)
				wantError(t, err, c.want)
				prefix := "failed to migrate the bbolt file " + path + ": "
				if err == nil || !strings.HasPrefix(err.Error(), prefix) ||
					!strings.Contains(err.Error(), c.words) {
					t.Errorf("%v does not begin with %q or lacks %q", err, prefix, c.words)
				}
				expectUntouched(t, path, before)
			}
		})
	}
}

func TestBboltFileOfAnotherProgramIsRefused(t *testing.T) {
	path := newPath(t)
	db, err := bolt.Open(path, 0o600, nil)
	ok(t, err)
	ok(t, db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("v1"))
		return err
	}))
	ok(t, db.Close())
	before, err := os.ReadFile(path)
	ok(t, err)
	_, err = NewPoolMetadata(path)
	wantError(t, err, ErrBboltFile)
	if err == nil || !strings.Contains(err.Error(), `the buckets "v1"; containerd's metadata.db`) {
		t.Error(err)
	}
	expectUntouched(t, path, before)
}

func TestLockedBboltFileTimesOut(t *testing.T) {
	path := fixture(t, "pool")
	before, err := os.ReadFile(path)
	ok(t, err)
	db, err := bolt.Open(path, 0o600, nil)
	ok(t, err)
	defer db.Close()
	start := time.Now()
	_, err = Migrate(path, MigrateLockWait(200*time.Millisecond))
	wantError(t, err, ErrTimeout)
	if err == nil || !strings.Contains(err.Error(), "running containerd") {
		t.Error(err)
	}
	if took := time.Since(start); took >= DefaultLockWait {
		t.Errorf("waited %v", took)
	}
	expectUntouched(t, path, before)
	time.AfterFunc(100*time.Millisecond, func() { db.Close() })
	store, err := NewPoolMetadata(path)
	ok(t, err)
	ok(t, store.Close())
}

func TestExportBbolt(t *testing.T) {
	store := newStore(t)
	livedIn(t, store)
	path := newPath(t)
	ok(t, store.ExportBbolt(path))
	expectFiles(t, path, "metadata.db")
	difference, err := store.CompareBbolt(path)
	if err != nil || difference != "" {
		t.Errorf("%q, %v", difference, err)
	}
	seen, err := InspectBbolt(path)
	ok(t, err)
	if len(seen.Notes) != 0 {
		t.Errorf("the export has contradictions: %q", seen.Notes)
	}
	before, err := os.ReadFile(path)
	ok(t, err)
	err = store.ExportBbolt(path)
	wantError(t, err, ErrFileExists)
	if errors.Is(err, ErrAlreadyExists) {
		t.Error("it is taken for a device's error")
	}
	expectUntouched(t, path, before)
	// The export can be migrated again.
	again, err := NewPoolMetadata(path)
	ok(t, err)
	defer again.Close()
	a, aIDs, errA := store.Snapshot()
	b, bIDs, errB := again.Snapshot()
	ok(t, errors.Join(errA, errB))
	if !slices.Equal(a, b) || aIDs.LastID != bIDs.LastID || !slices.Equal(aIDs.Free, bIDs.Free) ||
		!slices.Equal(aIDs.Faulty, bIDs.Faulty) {
		t.Error("the migrated store differs")
	}
}
