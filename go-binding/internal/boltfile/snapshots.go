package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The buckets of containerd's metadata.db: "v1" has "snapshots", which has a bucket for each
// snapshot, in which "id" is its number.
var (
	versionBucket   = []byte("v1")
	snapshotsBucket = []byte("snapshots")
	numberKey       = []byte("id")
)

// copyAttempts is how often a file is copied that is committed to meanwhile.
const copyAttempts = 100

// Snapshots returns the numbers of the snapshots in a snapshotter's metadata.db, in ascending
// order. A containerd that has the file open and locked may go on: a copy is read.
func Snapshots(path string) (_ []uint64, err error) {
	kept, err := copyInUse(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(kept)) }()
	f, err := Open(kept, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	var numbers []uint64
	err = guard(new(bool), func() error {
		return f.db.View(func(tx *bolt.Tx) (err error) {
			numbers, err = readSnapshots(tx)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	slices.Sort(numbers)
	return numbers, nil
}

func readSnapshots(tx *bolt.Tx) ([]uint64, error) {
	version := tx.Bucket(versionBucket)
	if version == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return nil, fmt.Errorf("%w: it is no metadata.db of a snapshotter", ErrForeign)
		}
		return nil, nil
	}
	all := version.Bucket(snapshotsBucket)
	if all == nil {
		if name, _ := version.Cursor().First(); name != nil {
			return nil, fmt.Errorf("%w: it has no snapshots; a snapshotter's metadata.db is in its "+
				"root_path", ErrForeign)
		}
		return nil, nil
	}
	var numbers []uint64
	err := all.ForEachBucket(func(key []byte) error {
		number, length := binary.Uvarint(all.Bucket(key).Get(numberKey))
		if length <= 0 {
			return damaged("snapshot %q has no number", key)
		}
		numbers = append(numbers, number)
		return nil
	})
	return numbers, err
}

// copyInUse copies a bbolt file that a process may be writing to, as of one commit, to a temporary
// file.
//
// bbolt writes pages that the newest commit does not use, and then one of the two meta pages, which
// puts the next commit in force. So a copy is whole if neither meta page has changed by its end.
func copyInUse(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	kept, err := os.CreateTemp("", "pm-snapshots-")
	if err != nil {
		return "", err
	}
	defer kept.Close()
	for range copyAttempts {
		whole, err := copyOnce(file, kept)
		if err != nil {
			return "", errors.Join(err, os.Remove(kept.Name()))
		}
		if whole {
			return kept.Name(), nil
		}
	}
	err = fmt.Errorf("%s: a commit was made during each of %d copies; retry", path, copyAttempts)
	return "", errors.Join(err, os.Remove(kept.Name()))
}

func copyOnce(file, kept *os.File) (whole bool, err error) {
	before := metaPages(file)
	if err := kept.Truncate(0); err != nil {
		return false, err
	}
	end := io.NewOffsetWriter(kept, 0)
	if _, err := io.Copy(end, io.NewSectionReader(file, 0, 1<<62)); err != nil {
		return false, err
	}
	return bytes.Equal(before, metaPages(file)), nil
}

// metaPages returns the bytes where the meta pages can be: the second is one page after the first,
// and the size of pages is that of the machine that made the file.
func metaPages(file *os.File) []byte {
	var all []byte
	for _, at := range []int64{0, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16} {
		page := make([]byte, pageHeaderLen+metaLen)
		n, _ := file.ReadAt(page, at)
		all = append(all, page[:n]...)
	}
	return all
}
