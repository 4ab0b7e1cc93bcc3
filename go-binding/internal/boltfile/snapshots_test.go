package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// addSnapshot writes a snapshot as containerd does.
func addSnapshot(tx *bolt.Tx, key string, number uint64) error {
	bucket := tx.Bucket(versionBucket).Bucket(snapshotsBucket)
	snapshot, err := bucket.CreateBucketIfNotExists([]byte(key))
	if err != nil {
		return err
	}
	return snapshot.Put(numberKey, binary.AppendUvarint(nil, number))
}

// snapshotter makes a metadata.db, which stays open and locked until the test ends.
func snapshotter(t *testing.T) (*bolt.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metadata.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	err = db.Update(func(tx *bolt.Tx) error {
		version, err := tx.CreateBucket(versionBucket)
		if err != nil {
			return err
		}
		_, err = version.CreateBucket(snapshotsBucket)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return db, path
}

func TestSnapshotsOfFileInUse(t *testing.T) {
	db, path := snapshotter(t)
	if numbers, err := Snapshots(path); err != nil || len(numbers) != 0 {
		t.Errorf("no snapshots: %v, %v", numbers, err)
	}
	err := db.Update(func(tx *bolt.Tx) error {
		for i := range uint64(300) {
			if err := addSnapshot(tx, fmt.Sprintf("default/%d/layer", 999-i), i+1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := Snapshots(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(numbers) != 300 || !slices.IsSorted(numbers) || numbers[0] != 1 || numbers[299] != 300 {
		t.Errorf("%d snapshots: %v", len(numbers), numbers)
	}
}

// Every list is that of one commit: each commit adds a snapshot, so that none is missing in
// between.
func TestSnapshotsBesideWriter(t *testing.T) {
	db, path := snapshotter(t)
	db.NoSync = true
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := uint64(1); ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			err := db.Update(func(tx *bolt.Tx) error { return addSnapshot(tx, fmt.Sprint(i%2000), i) })
			if err != nil {
				done <- err
				return
			}
			if i%50 == 0 {
				// A containerd does not commit without end either.
				time.Sleep(time.Millisecond)
			}
		}
	}()
	read := 0
	for range 20 {
		numbers, err := Snapshots(path)
		if err != nil {
			// The writer may have been faster each time; that is said, and is no wrong list.
			t.Log(err)
			continue
		}
		read++
		for i := 1; i < len(numbers); i++ {
			if numbers[i] != numbers[i-1]+1 {
				t.Fatalf("%d follows %d", numbers[i], numbers[i-1])
			}
		}
	}
	close(stop)
	if err := <-done; err != nil || read == 0 {
		t.Fatal(err, read)
	}
}

func TestSnapshotsRefusesOtherFiles(t *testing.T) {
	for _, name := range []string{"pool.bolt", "odd.bolt"} {
		if _, err := Snapshots(testdata(name)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Snapshots(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("missing: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Snapshots(text); err == nil {
		t.Error("a text was read")
	}
	db, path := snapshotter(t)
	err := db.Update(func(tx *bolt.Tx) error {
		_, err := tx.Bucket(versionBucket).Bucket(snapshotsBucket).CreateBucket([]byte("a"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Snapshots(path); !errors.Is(err, ErrDamaged) {
		t.Errorf("a snapshot without a number: %v", err)
	}
}
