#!/bin/sh
# The built libraries must export exactly what scripts/symbols.txt lists: a missing name breaks a
# program that links; one too many becomes part of an ABI that was not meant.
# symbols.sh SO ARCHIVE LIST HEADER
set -eu
so=$1
archive=$2
list=$3
header=$4
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'symbols: %s\n' "$*" >&2
    exit 1
}

# compare WHAT FILE HINT
compare() {
    diff -u --label "$list" --label "$1" "$list" "$2" >&2 || fail "$1 differs from $list: $3"
}

[ "$(wc -l <"$list")" -gt 10 ] || fail "$list is too short to be the list"

scripts/symbols.sh "$header" >"$work/header"
compare "what $header declares" "$work/header" \
    "if that is intended, run \`make header\`; a removed function needs a new soname"

nm -D --defined-only "$so" | awk '{ print $3 }' | LC_ALL=C sort >"$work/so"
compare "what $so exports" "$work/so" "see #[no_mangle] in src/capi"

# In the archive all global names count, not just functions.
nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort >"$work/archive"
compare "what $archive defines" "$work/archive" "see scripts/archive.sh"

dynamic=$(readelf -dW "$so")
printf '%s\n' "$dynamic" | grep -q 'SONAME.*\[libpool_metadata\.so\.0\]' ||
    fail "the soname of $so is not libpool_metadata.so.0"
system='\[(libc|libgcc_s|libm|libpthread|libdl|librt|ld-linux[a-z0-9_-]*)\.so\.[0-9]+\]'
if printf '%s\n' "$dynamic" | grep 'NEEDED' | grep -vE "$system" >&2; then
    fail "$so needs a library beyond the system's C run time (LMDB must be the vendored one)"
fi
if printf '%s\n' "$dynamic" | grep -q TEXTREL; then fail "$so has text relocations"; fi
if readelf -lW "$so" | grep GNU_STACK | grep -q E; then fail "$so asks for an executable stack"; fi
echo "symbols: $(wc -l <"$list") functions, in the header, the shared library and the archive alike"
