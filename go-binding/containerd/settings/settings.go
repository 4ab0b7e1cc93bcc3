//go:build linux

// Package settings has what an operator can set of the store in containerd, which has no section
// for it in its configuration: environment variables of the daemon.
package settings

import (
	"fmt"
	"os"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

// DeferredStates is the name of the variable that says whether the store is opened
// [poolmetadata.WithDeferredStates]: "on", which is the default, or "off".
const DeferredStates = "PM_DEFERRED_STATES"

// ComparePool is the name of the variable that says whether each start compares the store with the
// pool: "on", which is the default, or "off".
const ComparePool = "PM_COMPARE_POOL"

// Options returns the options with which the snapshotter opens its store.
func Options() ([]poolmetadata.Option, error) {
	deferred, err := isOn(DeferredStates)
	if err != nil || !deferred {
		return nil, err
	}
	// What stays unflushed for long was not acknowledged: its call has failed.
	return []poolmetadata.Option{
		poolmetadata.WithDeferredStates(), poolmetadata.WithDeferredAge(time.Minute),
	}, nil
}

// Compare says whether a start compares the store with the pool.
func Compare() (bool, error) { return isOn(ComparePool) }

// isOn returns the value of a variable that is on unless it is turned off.
func isOn(variable string) (bool, error) {
	switch value := os.Getenv(variable); value {
	case "", "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, fmt.Errorf(
			"the environment variable %s is %q: set it to on or off, or unset it, which means on",
			variable, value)
	}
}
