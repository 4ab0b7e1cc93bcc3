module github.com/pool-metadata/pool-metadata/go-binding

go 1.24.0

require github.com/containerd/errdefs v1.0.0
