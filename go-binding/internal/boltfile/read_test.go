package boltfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func TestReadReturnsContentsOfContainerd(t *testing.T) {
	want := upstreamSays(t, "pool")
	got, err := readFile(testdata("pool.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Devices) != len(want.Devices) || len(got.Devices) == 0 {
		t.Fatalf("%d devices, and containerd has %d", len(got.Devices), len(want.Devices))
	}
	for i, device := range got.Devices {
		if device.Name != string(want.Keys[i]) {
			t.Errorf("name %q, and containerd's key is %q", device.Name, want.Keys[i])
		}
		device.Name = want.Devices[i].Name // the key where JSON cannot hold it
		if device != want.Devices[i] {
			t.Errorf("%+v, and containerd says %+v", device, want.Devices[i])
		}
	}
	if uint64(got.LastID) != want.Sequence {
		t.Errorf("last id %d, and containerd's sequence is %d", got.LastID, want.Sequence)
	}
	lists := map[byte][]uint32{stateFree: got.Free, stateFaulty: got.Faulty}
	if len(lists[stateFree]) < 10 || len(lists[stateFaulty]) < 4 {
		t.Errorf("the fixture should have more free and faulty ids: %v", lists)
	}
	for id := uint32(1); id <= got.LastID; id++ {
		state := byte(stateTaken)
		for of, list := range lists {
			if _, found := slices.BinarySearch(list, id); found {
				state = of
			}
		}
		if want := want.IDs[itoa(id)]; state != want {
			t.Errorf("id %d has state %d, and containerd says %d", id, state, want)
		}
	}
	if len(got.Notes) != 0 {
		t.Errorf("a sound pool was found odd: %q", got.Notes)
	}
}

func TestReadOfEmptyPool(t *testing.T) {
	for name, path := range map[string]string{"initialised": testdata("empty.bolt"),
		"without buckets": bare(t)} {
		got, err := readFile(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(got.Devices) != 0 || got.LastID != 0 || len(got.Free)+len(got.Faulty)+len(got.Notes) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// bare makes a file that bbolt has created and no program has written to.
func bare(t *testing.T) string {
	return edited(t, "", func(*bolt.Tx) error { return nil })
}

// edited makes a copy of a fixture, or a new file, and changes it.
func edited(t *testing.T, fixture string, change func(tx *bolt.Tx) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edited.bolt")
	if fixture != "" {
		path = fileOf(t, bytesOf(t, fixture))
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadResolvesContradictions(t *testing.T) {
	got, err := readFile(testdata("odd.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Devices) != 11 || got.LastID != 22 {
		t.Errorf("%d devices, last id %d", len(got.Devices), got.LastID)
	}
	if len(got.Free) != 0 {
		t.Errorf("free ids %v: an id that a device has must not be free", got.Free)
	}
	// 3 and 9 were assigned and have no owner; 14 to 19 and 21 were skipped; 20 and 22 are beyond
	// the sequence.
	if want := []uint32{3, 9, 14, 15, 16, 17, 18, 19, 20, 21, 22}; !slices.Equal(got.Faulty, want) {
		t.Errorf("faulty ids %v, want %v", got.Faulty, want)
	}
	notes := strings.Join(got.Notes, "\n")
	for _, want := range []string{
		"1 ids are free in the list of ids, and devices have them: taken (5)",
		"1 ids are not in the list of ids, and devices have them: taken (7)",
		"3 ids are taken in the list of ids, and no device has them: made faulty (3, 9, 20)",
		"made faulty (14-19, 21)",
		"larger than the sequence, which is 16",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}
}

func TestReadNamesAllUnfitValues(t *testing.T) {
	_, err := readFile(testdata("unfit.bolt"))
	for _, kind := range []error{ErrName, ErrState} {
		if !errors.Is(err, kind) {
			t.Errorf("%v is not %q", err, kind)
		}
	}
	for _, want := range []string{
		strings.Repeat("x", 512), "512 bytes", `"nul\x00in-it"`,
		"parent's name of device \"long-parent\" has 600 bytes",
		"state of device \"state\" is 14",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "fits") {
		t.Errorf("a device that fits is named in %v", err)
	}
}

func TestReadRefusesLongErrorText(t *testing.T) {
	record := `{"device_id":1,"name":"d","error":"` + strings.Repeat("e", maxErrorLen+1) + `"}`
	path := edited(t, "empty", func(tx *bolt.Tx) error {
		return tx.Bucket(devicesBucket).Put([]byte("d"), []byte(record))
	})
	if _, err := readFile(path); !errors.Is(err, ErrText) {
		t.Errorf("%v", err)
	}
}

func TestReadRefusesOtherFiles(t *testing.T) {
	put := func(bucket []byte, key, value string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put([]byte(key), []byte(value)) }
	}
	record := func(name, id string) func(*bolt.Tx) error {
		return put(devicesBucket, name, `{"device_id":`+id+`,"name":"`+name+`"}`)
	}
	cases := map[string]struct {
		change func(*bolt.Tx) error
		kind   error
		words  string
	}{
		"containerd's own": {func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("v1"))
			return err
		}, ErrForeign, `the buckets "v1"; containerd's metadata.db and meta.db`},
		"some other program's": {func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("v2"))
			return err
		}, ErrForeign, `the buckets "v2"`},
		"a bucket missing": {func(tx *bolt.Tx) error { return tx.DeleteBucket(idsBucket) }, ErrDamaged,
			"is missing"},
		"a bucket among the devices": {func(tx *bolt.Tx) error {
			_, err := tx.Bucket(devicesBucket).CreateBucket([]byte("sub"))
			return err
		}, ErrDamaged, `"sub" is a bucket`},
		"a bucket among the ids": {func(tx *bolt.Tx) error {
			_, err := tx.Bucket(idsBucket).CreateBucket([]byte("99"))
			return err
		}, ErrDamaged, "device id 99"},
		"no JSON": {put(devicesBucket, "dev-01", "{"), ErrDamaged,
			`record of device "dev-01"`},
		"an empty record": {put(devicesBucket, "dev-01", ""), ErrDamaged,
			`record of device "dev-01"`},
		"a number too large": {record("dev-01", "4294967296"), ErrDamaged, `record of device "dev-01"`},
		"another name": {put(devicesBucket, "dev-01", `{"device_id":1,"name":"x"}`), ErrDamaged,
			`has the name "x"`},
		"id 0":            {record("dev-01", "0"), ErrDamaged, "has the id 0"},
		"an id too large": {record("dev-01", "16777215"), ErrDamaged, "has the id 16777215"},
		"one id twice": {record("dev-01", "2"), ErrDamaged,
			`devices "dev-01" and "dev-02" both have the id 2`},
		"an id that is none":  {put(idsBucket, "x", "\x01"), ErrDamaged, `device id "x"`},
		"an id written oddly": {put(idsBucket, "007", "\x01"), ErrDamaged, `device id "007"`},
		"id row 0":            {put(idsBucket, "0", "\x01"), ErrDamaged, `device id "0"`},
		"id row too large":    {put(idsBucket, "16777215", "\x01"), ErrDamaged, `device id "16777215"`},
		"an unknown state":    {put(idsBucket, "1", "\x03"), ErrDamaged, "device id 1 has the state"},
		"an empty state":      {put(idsBucket, "1", ""), ErrDamaged, "device id 1 has the state"},
		"a sequence too large": {func(tx *bolt.Tx) error {
			return tx.Bucket(idsBucket).SetSequence(maxDeviceID + 1)
		}, ErrDamaged, "sequence of device ids is 16777215"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := edited(t, "odd", c.change)
			before, _ := os.ReadFile(path)
			_, err := readFile(path)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %q with %q", err, c.kind, c.words)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpenTimesOutOnLockedFile(t *testing.T) {
	path := fileOf(t, bytesOf(t, "pool"))
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	const wait = 100 * time.Millisecond
	start := time.Now()
	_, err = Open(path, wait)
	if !errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took < wait || took > time.Minute {
		t.Errorf("waited %v", took)
	}
	time.AfterFunc(wait, func() { db.Close() })
	file, err := Open(path, 100*wait)
	if err != nil {
		t.Fatalf("after the lock has gone: %v", err)
	}
	// No process can write while it is open; readers can read.
	if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: wait}); err == nil {
		db.Close()
		t.Error("a writer got in")
	}
	if _, err := readFile(path); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: 100 * wait}); err != nil {
		t.Fatalf("the lock stayed: %v", err)
	}
	db.Close()
}

func TestFailedOpenLeavesNoLock(t *testing.T) {
	bytes := bytesOf(t, "pool")
	bytes[4096*3] ^= 0xff
	for i := range 2 * 4096 { // no meta page
		bytes[i] = 0
	}
	path := fileOf(t, bytes)
	if _, err := Open(path, time.Second); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := lockExclusive(other); err != nil {
		t.Errorf("the lock stayed: %v", err)
	}
}
