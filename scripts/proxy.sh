#!/bin/sh
# Builds the proxy, go-binding/cmd/devmapper-snapshotter, into target/proxy: scripts/proxy.sh
#
# The go command lays the overlay over a copy of containerd's source, as in a build of containerd
# with this store. The program is static: it runs on any Linux. The Makefile has built the library.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
out=$PWD/target/proxy
cd go-binding
version=$(cd cmd/devmapper-snapshotter &&
    go list -m -f '{{.Version}}' github.com/containerd/containerd/v2)
go run ./cmd/containerd-overlay -containerd "$version" -out "$out/overlay" >/dev/null 2>&1 ||
    go run ./cmd/containerd-overlay -containerd "$version" -out "$out/overlay"
cd cmd/devmapper-snapshotter
# The module itself names the released containerd; the copy takes its place in this build alone.
cp go.mod go.sum "$out"
go mod edit -replace "github.com/containerd/containerd/v2=$out/overlay/source" \
    -replace "github.com/pool-metadata/pool-metadata/go-binding=$(cd ../.. && pwd)" "$out/go.mod"
link_go "$out/devmapper-snapshotter" -modfile="$out/go.mod" \
    -overlay="$out/overlay/overlay.json" -trimpath -tags=pm_overlay,netgo,osusergo \
    -ldflags='-s -w -linkmode=external -extldflags=-static' .
printf 'proxy: %s: ' "${out#"$(cd ../../.. && pwd)"/}/devmapper-snapshotter"
"$out/devmapper-snapshotter" -version
