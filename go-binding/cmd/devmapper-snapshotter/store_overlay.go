//go:build pm_overlay

package main

import (
	"github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// onStore makes fn be called with the store that the snapshotter opens.
func onStore(fn func(*poolmetadata.PoolMetadata)) error {
	devmapper.Opened = func(_ string, store *devmapper.PoolMetadata) { fn(store) }
	return nil
}
