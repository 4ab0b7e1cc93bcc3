#!/bin/sh
# This store against containerd's own, as Go programs see them: scripts/bench-go.sh [FLAG...]
#
# The flags are those of go-binding/containerdtest/bench. The Makefile has built the library.
set -eu
cd "$(dirname "$0")/.."
go=$(scripts/go.sh)
case $go in
*/*) PATH=$(dirname "$go"):$PATH ;;
esac
# See scripts/test-go.sh. The archive is looked at as well here: what is measured has to be what was built last.
CGO_CFLAGS="-g -O2 -DPMGO_HEADER=$(cat include/pool_metadata.h target/dist/libpool_metadata.a | cksum | cut -d ' ' -f 1)"
export PATH CGO_CFLAGS
mkdir -p target
disk=$PWD/target
cd go-binding/containerdtest
go run ./bench -disk "$disk" "$@"
