#!/bin/sh
# Makes a static archive that defines pm_* and nothing else: scripts/archive.sh CARGO.a SYMBOLS OUT.a
#
# The archive that cargo writes carries LMDB and Rust's standard library with all of their global names. Linked into a
# program that has an LMDB of its own, mdb_env_open would be defined twice, or, worse, taken from the other one without
# a word; two Rust archives in one program clash over rust_eh_personality. So:
#   - ld -r takes out of cargo's archive just the members that the public functions need, and joins them into one
#     object. Sections keep their own names, so that --gc-sections still drops what a program does not use.
#   - --force-group-allocation resolves section groups here. Left in, a group of the same name in the host would
#     replace ours at the final link, together with what is local by then.
#   - objcopy makes every global name but pm_* local.
# tests/install/ links the result into a program that defines such names itself, dynamically and statically.
set -eu
from=$1
symbols=$2
to=$3
mkdir -p "$(dirname "$to")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

roots=$(sed -n 's/^pm_/-u pm_/p' "$symbols")
# shellcheck disable=SC2086  # one option a function, split on purpose
"${LD:-ld}" -r --force-group-allocation $roots -o "$work/whole.o" "$from" || {
    echo "archive: ld cannot read $from. If plain \`cargo build\` wrote it, it holds LLVM bitcode that the system's" >&2
    echo "archive: linker plugin may be too old for; \`make\` builds it without." >&2
    exit 1
}
"${OBJCOPY:-objcopy}" --wildcard --keep-global-symbol='pm_*' "$work/whole.o" "$work/pool_metadata.o"
# D: no times or user ids in the archive, so that the same input gives the same bytes.
"${AR:-ar}" rcsD "$work/lib.a" "$work/pool_metadata.o"
mv "$work/lib.a" "$to"
