#!/bin/sh
# Compares this store with containerd's own, and runs containerd's devmapper snapshotter on it:
# scripts/test-containerd.sh [VERSION,...]
#
# Without an argument, the versions of containerd are those in go-binding/containerdtest/go.mod.
# With one, such as latest or v1.7, only the swap is tested, into those. The Makefile has built the
# library.
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
    . scripts/go-env.sh
    cd go-binding/containerdtest
    exec go test -count=1 -timeout=60m -v -run '^TestSwap$' . -containerd "$1"
fi
# A library without paths of this machine, for TestVendor.
built=${CARGO_TARGET_DIR:-target}/reproducible
tests/install/reproducible.sh "$built"
built=$(cd "$built" && pwd)
CARGO_TARGET_DIR=$built scripts/fresh-make.sh REPRODUCIBLE=1 install-library \
    PREFIX="$built/stage" >"$built/log" 2>&1 || {
    cat "$built/log" >&2
    exit 1
}
export PKG_CONFIG_PATH="$built/stage/lib/pkgconfig"
. scripts/go-env.sh
cd go-binding/containerdtest
go vet ./...
go test -count=1 -timeout=120m ./...
# The proxy without the overlay: what needs no device mapper.
cd ../cmd/devmapper-snapshotter
go vet ./...
go test -count=1 -timeout=60m -race ./...
echo 'test-containerd: all passed'
