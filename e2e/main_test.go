// Package e2e tests containerd with this store on a real kernel.
package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/pool-metadata/pool-metadata/e2e/guest"
)

// machine makes a guest, which is removed at the test's end.
func machine(t testing.TB, image *guest.Image, sizes ...int64) *guest.Machine {
	t.Helper()
	m, err := guest.NewMachine(t.TempDir(), image, sizes...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// limited returns a context for one guest. The limit is far beyond what a run needs: it ends a
// guest that hangs.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run runs a guest once.
func run(t *testing.T, image *guest.Image, sizes ...int64) *guest.Result {
	t.Helper()
	m := machine(t, image, sizes...)
	result, err := m.Run(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return result
}
