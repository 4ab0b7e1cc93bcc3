#!/bin/sh
# Compares this store with containerd's own, as Go programs see them: scripts/bench-go.sh [FLAG...]
#
# The flags are those of go-binding/containerdtest/bench. The Makefile has built the library.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
# `go run` would use a cached program of an earlier library.
CGO_CFLAGS="-g -O2 -DPMGO_ARCHIVE=$(cksum <target/dist/libpool_metadata.a | cut -d ' ' -f 1)"
export CGO_CFLAGS
mkdir -p target
disk=$PWD/target
cd go-binding/containerdtest
go run ./bench -disk "$disk" "$@"
