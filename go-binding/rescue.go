//go:build linux && cgo

package poolmetadata

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"

	"github.com/pool-metadata/pool-metadata/go-binding/internal/boltfile"
)

// RescueBbolt makes a new store of what is whole in a damaged bbolt file, which [Migrate] refuses:
// it needs no list of free pages, takes the commit before where pages of the newest one are
// damaged, and leaves out records that are not. The file at path is only read, and there must be no
// file at store. The notes of the result say what was left out. Ids of which it is not known
// whether the pool has a device are faulty.
//
// The store is made as a temporary file beside its path, read back, and renamed.
func RescueBbolt(path, store string, opts ...MigrateOption) (*Migration, error) {
	const op = "RescueBbolt"
	doing := "rescue the bbolt file " + path
	o := migrateOptionsOf(opts)
	if _, err := os.Lstat(store); !errors.Is(err, fs.ErrNotExist) {
		return nil, newError(CodeFileExists, op, doing, store+" exists already; use another path")
	}
	contents, err := boltfile.Rescue(path, o.wait)
	if err != nil {
		return nil, boltError(err, op, doing)
	}
	var number [8]byte
	_, _ = rand.Read(number[:]) // it never fails
	temp := store + ".rescuing-" + hex.EncodeToString(number[:])
	placed := false
	defer func() { // also if a progress function panics
		_ = os.Remove(temp + "-lock")
		if !placed {
			_ = os.Remove(temp)
		}
	}()
	if err := build(temp, contents, o); err != nil {
		return nil, boltError(err, op, doing)
	}
	if err := boltfile.RenameNew(temp, store); err != nil {
		return nil, boltError(err, op, doing)
	}
	placed = true
	if err := boltfile.SyncDirectory(store); err != nil {
		return nil, boltError(err, op, doing)
	}
	return migrationOf(contents), nil
}
