package containerdtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"go.etcd.io/bbolt"
)

// scratch returns a directory for a test's stores: in memory if there is room, because there are
// hundreds of thousands of writes, each with an fsync.
func scratch(t testing.TB) string {
	t.Helper()
	const inMemory = "/dev/shm"
	if !hasRoom(inMemory) {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(inMemory, "pool-metadata-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// hasRoom reports whether a directory has room for the stores of all tests that run at once: those
// of one take up to 1.2 MiB. Some containers have only 64 MiB of memory there, for all processes.
func hasRoom(dir string) bool {
	const each = 4 << 20
	var has syscall.Statfs_t
	return syscall.Statfs(dir, &has) == nil &&
		has.Bavail*uint64(has.Bsize) >= uint64(runtime.GOMAXPROCS(0))*each
}

// native is this module's store behind the adapter.
func (p *pair) native() *poolmetadata.PoolMetadata {
	return p.ours.(adapter[poolmetadata.DeviceInfo, poolmetadata.DeviceState,
		poolmetadata.DeviceInfoCallback]).
		methods.(*poolmetadata.PoolMetadata)
}

// takeOver replaces our store by a migration of containerd's file.
func (p *pair) takeOver() {
	p.t.Helper()
	p.note("take containerd's file over")
	p.close()
	left, err := filepath.Glob(p.ourPath() + "*")
	p.must(err)
	for _, path := range left {
		p.must(os.Remove(path))
	}
	text, err := os.ReadFile(p.theirPath())
	p.must(err)
	p.must(os.WriteFile(p.ourPath(), text, 0o600))
	p.reopen()
	// Ids are those of the file, except those that containerd has lost: taken, and without an
	// owner.
	owned := map[uint32]bool{}
	for name, ids := range p.ids {
		owned[ids.theirs] = true
		p.ids[name] = both{ids.theirs, ids.theirs}
	}
	p.ourIDs.last, p.ourIDs.states = p.theirIDs.last, maps.Clone(p.theirIDs.states)
	for id, state := range p.ourIDs.states {
		if state == idTaken && !owned[id] {
			p.ourIDs.states[id] = idFaulty
		}
	}
}

// giveBack replaces containerd's store by an export of ours.
func (p *pair) giveBack() {
	p.t.Helper()
	p.note("give containerd an export")
	p.must(p.theirs.Close())
	p.must(os.Remove(p.theirPath()))
	p.must(p.native().ExportBbolt(p.theirPath()))
	p.reopenTheirs()
	for name, ids := range p.ids {
		p.ids[name] = both{ids.ours, ids.ours}
	}
	p.theirIDs.last, p.theirIDs.states = p.ourIDs.last, maps.Clone(p.ourIDs.states)
}

// finish closes both and compares the files, including the rows of the buckets.
func (p *pair) finish() {
	p.t.Helper()
	p.note("finish")
	p.walk(1 << 30)
	p.names()
	p.must(p.native().Verify())
	exported := filepath.Join(p.dir, "export.db")
	p.must(p.native().ExportBbolt(exported))
	p.close()
	theirs, ours := p.readBolt(p.theirPath()), p.readBolt(exported)
	if difference := p.theirIDs.difference(theirs.ids, theirs.last); difference != "" {
		p.t.Fatalf("containerd's file: %s", difference)
	}
	if difference := p.ourIDs.difference(ours.ids, ours.last); difference != "" {
		p.t.Fatalf("the export: %s", difference)
	}
	a, b := slices.Sorted(maps.Keys(theirs.devices)), slices.Sorted(maps.Keys(ours.devices))
	if !slices.Equal(a, b) {
		p.t.Fatalf("their keys: %q\nour keys:   %q", a, b)
	}
	for name, text := range theirs.devices {
		p.sameRecord(name, text, ours.devices[name])
	}
}

// sameRecord compares the bytes of a device's JSON, except the id.
func (p *pair) sameRecord(name string, theirs, ours []byte) {
	p.t.Helper()
	ids := p.ids[name]
	field := func(id uint32) []byte { return []byte(fmt.Sprintf(`{"device_id":%d,`, id)) }
	if !bytes.Equal(bytes.Replace(theirs, field(ids.theirs), field(ids.ours), 1), ours) {
		p.t.Fatalf("device %q\ntheirs: %s\nours:   %s", name, theirs, ours)
	}
	var info poolmetadata.DeviceInfo
	p.must(json.Unmarshal(ours, &info))
	if info.Name != name || info.DeviceID != ids.ours {
		p.t.Fatalf("device %q has the record %s", name, ours)
	}
}

// boltFile is the contents of a file of containerd's.
type boltFile struct {
	devices map[string][]byte
	ids     map[uint32]int
	last    uint32
}

func (p *pair) readBolt(path string) boltFile {
	p.t.Helper()
	file := boltFile{devices: map[string][]byte{}, ids: map[uint32]int{}}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	p.must(err)
	defer db.Close()
	p.must(db.View(func(tx *bbolt.Tx) error {
		ids := tx.Bucket([]byte("device_ids"))
		file.last = uint32(ids.Sequence())
		if err := ids.ForEach(func(key, value []byte) error {
			id, err := strconv.ParseUint(string(key), 10, 32)
			file.ids[uint32(id)] = int(value[0])
			return err
		}); err != nil {
			return err
		}
		return tx.Bucket([]byte("devices")).ForEach(func(key, value []byte) error {
			file.devices[string(key)] = bytes.Clone(value)
			return nil
		})
	}))
	return file
}
