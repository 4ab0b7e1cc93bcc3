// Package containerdtest compares this module's store with containerd's own, and runs containerd's
// devmapper snapshotter on it. It is a module of its own, so that what containerd requires stays
// out of the one that programs import.
//
// The versions of containerd are those in go.mod. The tests need a built library (`make`) and Go;
// the modules come through the Go module proxy.
package containerdtest
