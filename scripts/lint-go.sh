#!/bin/sh
# Checks the Go modules with gofmt, vet and staticcheck: scripts/lint-go.sh [quick]
#
# With quick, it skips staticcheck, which scripts/setup.sh must build first.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
tools=$PWD/target/tools/bin
unformatted=$("$(go env GOROOT)/bin/gofmt" -l go-binding e2e)
if [ -n "$unformatted" ]; then
    printf 'gofmt would change these files; run: gofmt -w go-binding e2e\n%s\n' "$unformatted" >&2
    exit 1
fi
cd go-binding
go vet ./...
go vet -tags pm_pkgconfig .
[ "${1:-}" != quick ] || exit 0
"$tools/staticcheck" ./...
for module in containerdtest cmd/devmapper-snapshotter ../e2e; do
    (cd "$module" && go vet ./... && "$tools/staticcheck" ./...)
done
