//go:build linux

// Package devmapper replaces the snapshotter's metadata.go in tests only.
//
// A test of containerd reads the bbolt buckets of the store through its field db. Here the store
// has such a field: its View exports the store to a bbolt file and opens that. Everything else is
// as in the real replacement.
package devmapper

import (
	"errors"
	"os"
	"path/filepath"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/settings"
	"go.etcd.io/bbolt"
)

// The names of buckets that containerd's tests use.
//
//lint:ignore U1000 it is used when the file is where it belongs
var deviceIDBucketName = []byte("device_ids")

//lint:ignore U1000 it is used when the file is where it belongs
const deviceFaulty = 2

// PoolMetadata is the store, and the field that the tests read.
type PoolMetadata struct {
	*poolmetadata.PoolMetadata
	db exported
}

// DeviceInfoCallback changes a device's record in an update.
type DeviceInfoCallback = poolmetadata.DeviceInfoCallback

// Values for comparison with the store's errors.
var (
	ErrNotFound      = poolmetadata.ErrNotFound
	ErrAlreadyExists = poolmetadata.ErrAlreadyExists
)

// NewPoolMetadata opens the store at a path.
func NewPoolMetadata(path string) (*PoolMetadata, error) {
	options, err := settings.Options()
	if err != nil {
		return nil, err
	}
	store, err := poolmetadata.NewPoolMetadata(path, options...)
	if err != nil {
		return nil, err
	}
	return &PoolMetadata{PoolMetadata: store, db: exported{store}}, nil
}

// exported is the store seen as a bbolt database.
type exported struct {
	store *poolmetadata.PoolMetadata
}

// View exports the store and calls fn with a transaction of the bbolt file.
func (e exported) View(fn func(*bbolt.Tx) error) (err error) {
	dir, err := os.MkdirTemp("", "exported-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "export.db")
	if err := e.store.ExportBbolt(path); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(fn)
}
