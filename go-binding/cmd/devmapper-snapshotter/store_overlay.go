//go:build pm_overlay

package main

import (
	"github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/recovery"
)

// onStore makes fn be called with the store that the snapshotter opens, and what keeps it in step.
func onStore(fn func(*poolmetadata.PoolMetadata, *recovery.Recovery)) error {
	devmapper.Opened = func(store *devmapper.PoolMetadata) { fn(store.PoolMetadata, store.Recovery) }
	return nil
}
