#!/bin/sh
# Prints, sorted, the functions that a header declares, which are those that the library must
# export: scripts/symbols.sh HEADER
set -eu
# The preprocessor removes comments. A declaration ends in ");" and starts with a type. The static
# inline helpers have a body, and a callback's type is a typedef: neither is a symbol of the
# library.
# shellcheck disable=SC2086  # the compiler may have options, or a program before it
${CC:-cc} -E -P -x c "$1" | tr '\n;{}' ' \n' |
    sed -n '/typedef\|static/!s/^.*[ *]\(pm_[a-z0-9_]*\) *(.*) *$/\1/p' | LC_ALL=C sort -u
