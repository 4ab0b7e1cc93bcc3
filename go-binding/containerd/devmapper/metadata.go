//go:build linux

// Package devmapper holds the two files that replace metadata.go and device_info.go in the
// devmapper snapshotter of containerd: the names that the rest of its package uses, for what this
// module has.
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
type PoolMetadata struct {
	*poolmetadata.PoolMetadata
	// Recovery keeps the store in step with the pool and with the snapshotter's own metadata.
	Recovery *recovery.Recovery
}

// DeviceInfoCallback changes a device's record in an update.
type DeviceInfoCallback = poolmetadata.DeviceInfoCallback

// Values for comparison with the store's errors.
var (
	// ErrNotFound says that there is no device of the name.
	ErrNotFound = poolmetadata.ErrNotFound
	// ErrAlreadyExists says that there is a device of the name, and it is not faulty.
	ErrAlreadyExists = poolmetadata.ErrAlreadyExists
)

// Opened, where a program has set it, is called with the store that NewPoolMetadata has opened. The
// program then decides when the store is compared with the pool. The proxy sets it.
var Opened func(store *PoolMetadata)

// NewPoolMetadata opens the store at a path. It creates a store if there is none, and migrates one
// of containerd's own. A device that an interrupted prepare has left is taken back. What the store
// and the pool disagree about is logged, a little later, unless PM_COMPARE_POOL is "off" in the
// environment.
//
// Changes of state that the snapshotter recovers from in the same way, whether they are on disk or
// not, are not flushed by themselves, unless the environment variable PM_DEFERRED_STATES is "off".
func NewPoolMetadata(path string) (*PoolMetadata, error) {
	options, err := settings.Options()
	if err != nil {
		return nil, err
	}
	compare, err := settings.Compare()
	if err != nil {
		return nil, err
	}
	store, err := poolmetadata.NewPoolMetadata(path, options...)
	if err != nil {
		return nil, err
	}
	m := &PoolMetadata{store, recovery.Start(context.Background(), path, store)}
	if Opened != nil {
		Opened(m)
	} else if compare {
		// Not on a signal as well: a library must not take one from a program that it is a part of.
		m.Recovery.CompareInBackground(true, nil)
	}
	return m, nil
}

// Close closes the store. The snapshotter has closed its own metadata before.
func (m *PoolMetadata) Close() error {
	m.Recovery.Stop()
	return m.PoolMetadata.Close()
}
