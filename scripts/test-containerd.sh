#!/bin/sh
# This store against containerd's own, and containerd's devmapper snapshotter on this store:
# scripts/test-containerd.sh [VERSION,...]
#
# Without an argument, containerd's versions are those in go-binding/containerdtest/go.mod; with one, such as latest or
# v1.7, only the swap is tested, into those. The Makefile has built the library.
set -eu
cd "$(dirname "$0")/.."
go=$(scripts/go.sh)
PATH=$(dirname "$go"):$PATH
export PATH
cd go-binding/containerdtest
if [ $# -gt 0 ]; then
    exec go test -count=1 -timeout=60m -v -run '^TestSwap$' . -containerd "$1"
fi
go vet ./...
go test -count=1 -timeout=120m ./...
echo 'test-containerd: all passed'
