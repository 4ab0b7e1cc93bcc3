package boltfile

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func rescued(t *testing.T, content []byte) *Contents {
	t.Helper()
	path := fileOf(t, content)
	found, err := Rescue(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, content) {
		t.Fatal("the file was changed")
	}
	return found
}

func same(t *testing.T, got, want *Contents) {
	t.Helper()
	if d := Difference(want, got); d != "" {
		t.Error(d)
	}
}

func TestRescueOfASoundFileIsTheFile(t *testing.T) {
	for _, name := range []string{"pool", "odd"} {
		want, err := readFile(testdata(name + ".bolt"))
		if err != nil {
			t.Fatal(err)
		}
		got := rescued(t, bytesOf(t, name))
		same(t, got, want)
		if !reflect.DeepEqual(got.Notes, want.Notes) {
			t.Errorf("%s: %q, not %q", name, got.Notes, want.Notes)
		}
	}
}

func TestRescueNeedsNoListOfFreePages(t *testing.T) {
	content := bytesOf(t, "pool")
	want, err := readFile(testdata("pool.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	m := newestMetaOf(t, content)
	at := int(m.freelist) * int(m.pageSize)
	copy(content[at:at+int(m.pageSize)], bytes.Repeat([]byte{0xaa}, int(m.pageSize)))
	if _, err := readFile(fileOf(t, content)); err == nil {
		t.Fatal("the damage is not found")
	}
	same(t, rescued(t, content), want)
}

// files of two commits: the second adds a device.
func twoCommits(t *testing.T, pageSize int) (before, after *Contents, content []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pool.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize})
	if err != nil {
		t.Fatal(err)
	}
	add := func(names ...string) {
		t.Helper()
		err := db.Update(func(tx *bolt.Tx) error {
			devices, err := tx.CreateBucketIfNotExists(devicesBucket)
			if err != nil {
				return err
			}
			ids, err := tx.CreateBucketIfNotExists(idsBucket)
			if err != nil {
				return err
			}
			for _, name := range names {
				id, err := ids.NextSequence()
				if err != nil {
					return err
				}
				text := strconv.FormatUint(id, 10)
				if err := ids.Put([]byte(text), []byte{stateTaken}); err != nil {
					return err
				}
				record := `{"device_id":` + text + `,"size":1,"name":"` + name + `","state":2}`
				if err := devices.Put([]byte(name), []byte(record)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func() *Contents {
		t.Helper()
		c, err := readFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var names []string
	for n := range 300 {
		names = append(names, "device-"+strconv.Itoa(n))
	}
	add(names...)
	closed := func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	closed()
	before = read()
	if db, err = bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize}); err != nil {
		t.Fatal(err)
	}
	add("the last")
	closed()
	after = read()
	if content, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return before, after, content
}

// If one of the meta pages is damaged, the other counts, whatever the size of pages.
func TestOtherMetaPageCountsAtEveryPageSize(t *testing.T) {
	for size := minPageSize; size <= 1<<18; size <<= 1 {
		before, after, content := twoCommits(t, size)
		newest := 0
		if m, _ := parseMeta(content[size:]); m.txid > newestMetaAt(content, 0) {
			newest = size
		}
		for _, at := range []int{0, size} {
			damage := bytes.Clone(content)
			copy(damage[at:], bytes.Repeat([]byte{0x55}, pageHeaderLen+metaLen))
			want := after
			if at == newest {
				want = before
			}
			got, err := readFile(fileOf(t, damage))
			if err != nil {
				t.Errorf("pages of %d bytes, the meta page at %d: %v", size, at, err)
				continue
			}
			same(t, got, want)
		}
	}
}

func newestMetaAt(content []byte, at int) uint64 {
	m, _ := parseMeta(content[at:])
	return m.txid
}

func TestRescueTakesTheCommitBefore(t *testing.T) {
	before, _, content := twoCommits(t, 4096)
	m := newestMetaOf(t, content)
	at := int(m.root) * 4096
	copy(content[at:at+4096], bytes.Repeat([]byte{0xff}, 4096))
	got := rescued(t, content)
	if len(got.Devices) != 300 || got.LastID != 301 || !slices.Equal(got.Faulty, []uint32{301}) {
		t.Errorf("%d devices, last id %d, faulty %v", len(got.Devices), got.LastID, got.Faulty)
	}
	if !reflect.DeepEqual(got.Devices, before.Devices) {
		t.Error("the devices are not those of the commit before")
	}
	if !strings.Contains(strings.Join(got.Notes, "\n"), "newest commit is damaged") {
		t.Errorf("%q", got.Notes)
	}
}

func TestRescueLeavesOutBadRecords(t *testing.T) {
	_, _, content := twoCommits(t, 4096)
	for _, edit := range [][2]string{
		{`"device-7"`, `"device-X"`},                         // another name than the key's
		{`{"device_id":10,`, `{"device_id":11,`},             // an id that another device has
		{`{"device_id":21,"size"`, `{"device_id":21;"size"`}, // not JSON
	} {
		if !bytes.Contains(content, []byte(edit[0])) {
			t.Fatalf("%s is not there", edit[0])
		}
		content = bytes.ReplaceAll(content, []byte(edit[0]), []byte(edit[1]))
	}
	got := rescued(t, content)
	// device-7 has the id 8, device-9 and device-10 share 11, and device-20 has 21.
	if len(got.Devices) != 297 || !slices.Equal(got.Faulty, []uint32{8, 10, 11, 21}) {
		t.Errorf("%d devices, faulty %v", len(got.Devices), got.Faulty)
	}
	notes := strings.Join(got.Notes, "\n")
	for _, name := range []string{"device-7", "device-9", "device-10", "device-20"} {
		if !strings.Contains(notes, strconv.Quote(name)) {
			t.Errorf("%s is not in the notes:\n%s", name, notes)
		}
	}
}

// Whatever is damaged, a rescue ends, and no id is given to a second device.
func TestRescueOfRandomDamageIsSound(t *testing.T) {
	_, after, content := twoCommits(t, 4096)
	known := map[uint32]bool{}
	for _, device := range after.Devices {
		known[device.DeviceID] = true
	}
	for page := 2; page < len(content)/4096; page++ {
		damage := bytes.Clone(content)
		copy(damage[page*4096:(page+1)*4096], bytes.Repeat([]byte{0xee}, 4096))
		got, err := Rescue(fileOf(t, damage), time.Second)
		if err != nil {
			continue
		}
		for _, id := range got.Free {
			if known[id] {
				t.Errorf("page %d: id %d is free", page, id)
			}
		}
	}
}
