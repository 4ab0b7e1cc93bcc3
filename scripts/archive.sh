#!/bin/sh
# Makes a static archive whose only global symbols are pm_*: scripts/archive.sh CARGO.a SYMBOLS
# OUT.a. UNWINDER names an archive that is to be a part of it, too.
#
# Cargo's archive carries LMDB and Rust's standard library with all of their global symbols. In a
# program with an LMDB of its own, mdb_env_open would be defined twice or silently taken from the
# other copy; two Rust archives in one program clash over rust_eh_personality. So:
#   - ld -r extracts the members that the public functions need and joins them into one object.
#     Sections keep their names, so --gc-sections still drops what a program does not use.
#   - --force-group-allocation resolves section groups here. If they stayed, a group of the same
#     name in the host program would replace this one at the final link, local symbols included.
#   - objcopy makes every global symbol but pm_* local.
# tests/install/ links the result, dynamically and statically, into a program that defines such
# symbols itself.
set -eu
from=$1
symbols=$2
to=$3
mkdir -p "$(dirname "$to")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

roots=$(sed -n 's/^pm_/-u pm_/p' "$symbols")
# shellcheck disable=SC2086  # one option a function, split on purpose
"${LD:-ld}" -r --force-group-allocation $roots -o "$work/whole.o" "$from" \
    ${UNWINDER:+"$UNWINDER"} || {
    echo "archive: ld cannot read $from. If plain \`cargo build\` wrote it, it holds LLVM" >&2
    echo "archive: bitcode, which this linker may be too old for; \`make\` builds without." >&2
    exit 1
}
"${OBJCOPY:-objcopy}" --wildcard --keep-global-symbol='pm_*' "$work/whole.o" "$work/pool_metadata.o"
# D leaves times and user ids out of the archive, so that the build is reproducible.
"${AR:-ar}" rcsD "$work/lib.a" "$work/pool_metadata.o"
mv "$work/lib.a" "$to"
