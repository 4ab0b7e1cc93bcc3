#!/bin/sh
# Formatting, vet and staticcheck of the Go package. The Makefile sets where the installed library is found.
set -eu
cd "$(dirname "$0")/../go-binding"
unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
    printf 'gofmt would change these; run: gofmt -w go-binding\n%s\n' "$unformatted" >&2
    exit 1
fi
go vet ./...
../target/tools/bin/staticcheck ./...
