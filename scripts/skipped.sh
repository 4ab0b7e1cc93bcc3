#!/bin/sh
# Lists what a run of the tests has skipped: scripts/skipped.sh LIST. Tests add to LIST, which
# PM_SKIPPED names, what they are and what they need.
#
# With CI=true, a machine that gives the rights must run everything: there, a line is a failure.
set -eu
list=$1
[ -s "$list" ] || exit 0
sort -u "$list" | sed 's/^/skipped: /'
echo "skipped: $(sort -u "$list" | wc -l) tests, or parts of them; see CONTRIBUTING.md"
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
    echo 'skipped: CI=true, and this machine gives the rights: nothing may be skipped' >&2
    exit 1
fi
