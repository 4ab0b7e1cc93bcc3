#!/bin/sh
# Checks the Go modules with gofmt, vet and staticcheck: scripts/lint-go.sh [quick]
#
# With quick, it skips staticcheck, which scripts/setup.sh must build first.
. "$(dirname "$0")/go-env.sh"
tools=$PWD/target/tools/bin
cd go-binding
unformatted=$("$(go env GOROOT)/bin/gofmt" -l .)
if [ -n "$unformatted" ]; then
    printf 'gofmt would change these files; run: gofmt -w go-binding\n%s\n' "$unformatted" >&2
    exit 1
fi
go vet ./...
go vet -tags pm_pkgconfig .
[ "${1:-}" != quick ] || exit 0
"$tools/staticcheck" ./...
cd containerdtest
go vet ./...
"$tools/staticcheck" ./...
