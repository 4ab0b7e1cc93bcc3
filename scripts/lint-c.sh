#!/bin/sh
# Compiles the header alone as C99, C11 and C++17, and the examples as C99, with gcc and clang,
# every warning an error: scripts/lint-c.sh
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Nothing is included before the header, so it must include what it uses; twice, for its guard.
printf '#include <pool_metadata.h>\n#include <pool_metadata.h>\n' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
warnings='-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Werror'
for compiler in gcc clang; do
    for standard in c99 c11; do
        # shellcheck disable=SC2086  # a list of options, split on purpose
        "$compiler" -std=$standard $warnings -Iinclude -fsyntax-only "$work/header.c"
    done
    # shellcheck disable=SC2086
    find examples -name '*.c' \
        -exec "$compiler" -std=c99 $warnings -Iinclude -fsyntax-only {} +
done
for compiler in g++ clang++; do
    "$compiler" -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only \
        "$work/header.cc"
done
