//go:build linux

// Package devmapper holds the two files that replace metadata.go and device_info.go in the
// devmapper snapshotter of containerd: the names that the rest of its package uses, as aliases of
// this module's.
//
// They compile here on their own and are put there by cmd/containerd-overlay; nothing imports this
// package.
package devmapper

import (
	"context"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/recovery"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/settings"
)

// PoolMetadata is the store of a thin-pool's devices.
type PoolMetadata = poolmetadata.PoolMetadata

// DeviceInfoCallback changes a device's record in an update.
type DeviceInfoCallback = poolmetadata.DeviceInfoCallback

// Values for comparison with the store's errors.
var (
	// ErrNotFound says that there is no device of the name.
	ErrNotFound = poolmetadata.ErrNotFound
	// ErrAlreadyExists says that there is a device of the name, and it is not faulty.
	ErrAlreadyExists = poolmetadata.ErrAlreadyExists
)

// Opened, where a program has set it, is called with the path and the store that NewPoolMetadata
// has opened. The proxy sets it, to read the store's statistics.
var Opened func(path string, store *PoolMetadata)

// NewPoolMetadata opens the store at a path. It creates a store if there is none, and migrates one
// of containerd's own. A device that an interrupted prepare has left is taken back.
//
// Changes of state that the snapshotter recovers from in the same way, whether they are on disk or
// not, are not flushed by themselves, unless the environment variable PM_DEFERRED_STATES is "off".
func NewPoolMetadata(path string) (*PoolMetadata, error) {
	options, err := settings.Options()
	if err != nil {
		return nil, err
	}
	store, err := poolmetadata.NewPoolMetadata(path, options...)
	if err != nil {
		return nil, err
	}
	recovery.Run(context.Background(), path, store)
	if Opened != nil {
		Opened(path, store)
	}
	return store, nil
}
