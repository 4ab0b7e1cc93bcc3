//go:build !pm_overlay

package main

import (
	"errors"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/recovery"
)

// onStore refuses: without the overlay, this program has containerd's own store.
func onStore(func(*poolmetadata.PoolMetadata, *recovery.Recovery)) error {
	return errors.New("this program was built without the overlay; build it with: make proxy")
}
