//go:build !pm_overlay

package main

import (
	"errors"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// onStore refuses: without the overlay, this program has containerd's own store.
func onStore(func(*poolmetadata.PoolMetadata)) error {
	return errors.New("this program was built without the overlay; build it with: make proxy")
}
