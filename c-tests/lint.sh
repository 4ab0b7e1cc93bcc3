#!/bin/sh
# Checks of the C tests that need no library. The Makefile sets the variables.
set -eu
cd "$(dirname "$0")"
# The compilers warn of a test that is in no table: it is an unused function.
strict='-fsyntax-only -O1 -Wwrite-strings -Wcast-qual -Wpointer-arith -Wundef -Wvla'
strict="$strict -Wimplicit-fallthrough"
for compiler in gcc clang; do
    for source in *.c; do
        # shellcheck disable=SC2086  # lists of options, split on purpose, here and below
        "$compiler" -std=c99 $C_WARNINGS $strict $CPPFLAGS_ALL "$source"
    done
done
for compiler in g++ clang++; do
    # shellcheck disable=SC2086
    "$compiler" -std=c++17 $WARNINGS -fsyntax-only $CPPFLAGS_ALL test_cpp.cpp
done
for script in *.sh; do
    sh -n "$script"
done
for script in *.py; do
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1], encoding="ascii").read())' "$script"
done
if LC_ALL=C grep -nP '[^\x00-\x7f]|\t| $' ./*.c ./*.cpp ./*.h ./*.sh ./*.py ./*.txt; then
    echo 'lint: bytes that are not ASCII, tabs, or spaces at the end of a line'
    exit 1
fi
