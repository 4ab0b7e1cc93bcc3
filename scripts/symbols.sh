#!/bin/sh
# Prints the functions that a header declares, sorted: what the library is to export. scripts/symbols.sh HEADER
set -eu
# The preprocessor takes the comments away. A declaration ends in ");" and starts with a type at the line's start;
# the static inline helpers have a body, and a callback's type is a typedef: neither is a symbol of the library.
"${CC:-cc}" -E -P -x c "$1" | tr '\n;{}' ' \n' |
    sed -n '/typedef\|static/!s/^.*[ *]\(pm_[a-z0-9_]*\) *(.*) *$/\1/p' | LC_ALL=C sort -u
