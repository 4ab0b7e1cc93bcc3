//go:build linux

// Package settings has what an operator can set of the store in containerd, which has no section
// for it in its configuration: environment variables of the daemon.
package settings

import (
	"fmt"
	"os"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// DeferredStates is the name of the variable that says whether the store is opened
// [poolmetadata.WithDeferredStates]: "on", which is the default, or "off".
const DeferredStates = "PM_DEFERRED_STATES"

// Options returns the options with which the snapshotter opens its store.
func Options() ([]poolmetadata.Option, error) {
	switch value := os.Getenv(DeferredStates); value {
	case "", "on":
		return []poolmetadata.Option{poolmetadata.WithDeferredStates()}, nil
	case "off":
		return nil, nil
	default:
		return nil, fmt.Errorf(
			"the environment variable %s is %q: set it to on or off, or unset it, which means on",
			DeferredStates, value)
	}
}
