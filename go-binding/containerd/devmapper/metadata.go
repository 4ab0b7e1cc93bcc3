//go:build linux

// Package devmapper holds the two files that take the place of metadata.go and device_info.go in
// the devmapper snapshotter of containerd: the names that the rest of its package uses, as other
// names for this module's.
//
// They compile here on their own and are put there by cmd/containerd-overlay; nothing imports this
// package.
package devmapper

import poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"

// PoolMetadata is the store of what is known of a thin-pool's devices.
type PoolMetadata = poolmetadata.PoolMetadata

// DeviceInfoCallback changes a device's record in an update.
type DeviceInfoCallback = poolmetadata.DeviceInfoCallback

// What the store's errors are compared with.
var (
	// ErrNotFound tells that there is no device of the name.
	ErrNotFound = poolmetadata.ErrNotFound
	// ErrAlreadyExists tells that there is a device of the name, and it is not faulty.
	ErrAlreadyExists = poolmetadata.ErrAlreadyExists
)

// NewPoolMetadata opens the store at a path. It creates one where there is none, and takes over one
// of containerd's own.
func NewPoolMetadata(path string) (*PoolMetadata, error) {
	return poolmetadata.NewPoolMetadata(path)
}
