//go:build linux

package recovery

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// lockWait is how long to wait for another process to close the snapshotter's metadata.
const lockWait = time.Second

// kindCommitted is how containerd writes the kind of a committed snapshot.
const kindCommitted = 3

// snapshots is what the snapshotter's own metadata says.
type snapshots struct {
	// last is the number of the last snapshot that was committed to the metadata, removed or not.
	last uint64
	// keys has the key of each snapshot, by its number.
	keys map[uint64]string
	// committed has the numbers of those that are committed.
	committed map[uint64]bool
	db        *bbolt.DB
}

// readSnapshots reads what the snapshotter keeps beside the store, in the format of containerd's
// package core/snapshots/storage. It stays open, and so locked against changes, until it is
// closed.
func readSnapshots(path string) (*snapshots, error) {
	// bbolt would create the file.
	if info, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s, the snapshotter's metadata, does not exist", path)
		}
		return nil, err
	} else if info.Size() == 0 {
		return nil, fmt.Errorf("%s, the snapshotter's metadata, is empty", path)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("%s, the snapshotter's metadata, is in use by another process", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, the snapshotter's metadata: %w", path, err)
	}
	s := &snapshots{keys: map[uint64]string{}, committed: map[uint64]bool{}, db: db}
	if err := db.View(s.read); err != nil {
		return nil, errors.Join(fmt.Errorf("%s, the snapshotter's metadata: %w", path, err), db.Close())
	}
	return s, nil
}

func (s *snapshots) close() error { return s.db.Close() }

func (s *snapshots) read(tx *bbolt.Tx) error {
	version := tx.Bucket([]byte("v1"))
	if version == nil {
		return nil // there was no snapshot yet
	}
	bucket := version.Bucket([]byte("snapshots"))
	if bucket == nil {
		return nil
	}
	s.last = bucket.Sequence()
	return bucket.ForEachBucket(func(key []byte) error {
		snapshot := bucket.Bucket(key)
		number, n := binary.Uvarint(snapshot.Get([]byte("id")))
		if n <= 0 || number > s.last {
			return fmt.Errorf("the snapshot %q has no number, or one beyond %d", key, s.last)
		}
		s.keys[number] = string(key)
		s.committed[number] = bytes.Equal(snapshot.Get([]byte("kind")), []byte{kindCommitted})
		return nil
	})
}
