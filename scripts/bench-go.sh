#!/bin/sh
# Compares this store with containerd's own, as Go programs see them: scripts/bench-go.sh [FLAG...]
#
# The flags are those of go-binding/containerdtest/bench. The Makefile has built the library.
. "$(dirname "$0")/go-env.sh"
# The archive too: `go run` would use a cached program of an earlier library.
see_changes include/pool_metadata.h target/dist/libpool_metadata.a
mkdir -p target
disk=$PWD/target
cd go-binding/containerdtest
go run ./bench -disk "$disk" "$@"
