#!/bin/sh
# Builds examples/c/pool_day.c against the library in DIR and runs it on a store in a new temporary
# directory, and then pmctl, as an operator would: scripts/run.sh DIR PMCTL. A C compiler is all it
# needs.
set -eu
release=$(cd "$1" && pwd)
pmctl=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# With the new tags, a library of LD_LIBRARY_PATH would come before this one.
# shellcheck disable=SC2086  # the compiler may have options, or a program before it
${CC:-cc} -std=c99 -Wall -Wextra -O2 -Iinclude -o "$work/pool_day" examples/c/pool_day.c \
    -L"$release" -lpool_metadata -Wl,--disable-new-dtags,-rpath,"$release"
"$work/pool_day" "$work/metadata.db"
export PM_STORE="$work/metadata.db"
for command in tree check; do
    printf '\n$ pmctl %s\n' "$command"
    "$pmctl" "$command"
done
