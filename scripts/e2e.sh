#!/bin/sh
# Runs the tests of e2e/ in guests of qemu: scripts/e2e.sh [-short] [-run PATTERN]
#
# A guest is started by the file that it boots, so nothing here needs root. -short leaves out the
# older containerd and the slowest test. The Makefile has built the library.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
cd e2e
go vet ./...
nice -n 5 go test -count=1 -timeout=300m -v "$@" ./...
echo 'e2e: all passed'
