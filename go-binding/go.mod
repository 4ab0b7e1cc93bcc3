module github.com/pool-metadata/pool-metadata/go-binding

go 1.25.0

require (
	github.com/containerd/errdefs v1.0.0
	go.etcd.io/bbolt v1.5.0
	golang.org/x/sys v0.45.0
)
