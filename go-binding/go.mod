module github.com/pool-metadata/pool-metadata/go-binding

go 1.24.0

// No newer than what containerd 1.7 requires: in a build of containerd, this module must not change
// the versions of others.
require (
	github.com/containerd/errdefs v0.3.0
	go.etcd.io/bbolt v1.3.10
	golang.org/x/sys v0.30.0
)
