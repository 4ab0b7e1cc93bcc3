#!/bin/sh
# Formatting and vet of the Go package, and staticcheck: scripts/lint-go.sh [quick]
#
# With quick, staticcheck, which scripts/setup.sh has to build first, is left out.
set -eu
cd "$(dirname "$0")/.."
go=$(scripts/go.sh)
PATH=$(dirname "$go"):$PATH
export PATH
tools=$PWD/target/tools/bin
cd go-binding
unformatted=$("$(go env GOROOT)/bin/gofmt" -l .)
if [ -n "$unformatted" ]; then
    printf 'gofmt would change these; run: gofmt -w go-binding\n%s\n' "$unformatted" >&2
    exit 1
fi
go vet ./...
go vet -tags pm_pkgconfig .
[ "${1:-}" != quick ] || exit 0
"$tools/staticcheck" ./...
cd containerdtest
go vet ./...
"$tools/staticcheck" ./...
