#!/bin/sh
# Scripts build a program in Go anew for another header or archive, though the go command's cache
# ignores both, and whatever the caller has set of the go command or has above the checkout. It
# needs what `make` builds: go-cache.sh
set -eu
cd "$(dirname "$0")/../.."
[ -f go-binding/go.mod ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
header=$tree/include/pool_metadata.h
archive=$tree/target/dist/libpool_metadata.a
GO=$(scripts/go.sh)
export GO GOFLAGS=-mod=vendor

fail() {
    printf 'go-cache: %s\n' "$*" >&2
    cat "$work/log" >&2
    exit 1
}

mkdir -p "$tree/scripts" "$tree/e2e" "$tree/target/dist" "$work/other"
cp -r go-binding include "$tree"
cp scripts/go.sh scripts/go-env.sh "$tree/scripts"
cp e2e/go.mod "$tree/e2e"
cp "${CARGO_TARGET_DIR:-target}/dist/libpool_metadata.a" "$archive"
printf 'go 1.24\n\nuse ./other\n' >"$work/go.work"
printf 'module other\n\ngo 1.24\n' >"$work/other/go.mod"

# builds: whether the victim of the kills, which is linked with the archive, is built.
builds() {
    # shellcheck disable=SC2016  # expanded by that shell
    (cd "$tree" && sh -euc '. scripts/go-env.sh
        cd go-binding
        link_go "$0" ./internal/victim' "$work/victim") >"$work/log" 2>&1
}

builds || fail 'the program does not build'
cp "$header" "$work/header"
echo '#error "another header"' >>"$header"
! builds || fail 'a changed header makes no difference'
grep -q 'another header' "$work/log" || fail 'it fails for another reason'
cp "$work/header" "$header"
echo 'no archive' >"$archive"
! builds || fail 'a changed archive makes no difference'
grep -q 'libpool_metadata.a' "$work/log" || fail 'it fails for another reason'
echo 'go-cache: a changed header and a changed archive are seen'
