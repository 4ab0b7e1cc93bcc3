#!/bin/sh
# Fails where a line of source or documentation has more than 100 columns: scripts/lint-width.sh
#
# Rows of tables in Markdown cannot be wrapped and are exempt. rustfmt checks the width of code in
# Rust, but not that of comments and strings.
set -eu
cd "$(dirname "$0")/.."

# The places whose lines are within 100 columns. To be replaced by `.` once all are.
places='scripts/advisories.sh scripts/archive.sh scripts/fuzz.sh scripts/kills.sh scripts/lint-c.sh
    scripts/lint-width.sh scripts/man.py scripts/powercut.sh scripts/run.sh scripts/sanitize.sh
    scripts/setup.sh scripts/symbols.sh Makefile deny.toml'

# shellcheck disable=SC2086  # a list of paths, split on purpose
find $places \( -name target -o -name .git -o -name testdata \) -prune -o -type f \( \
    -name '*.rs' -o -name '*.go' -o -name '*.[ch]' -o -name '*.cpp' -o -name '*.sh' \
    -o -name '*.py' -o -name '*.md' -o -name '*.toml' -o -name '*.in' -o -name Makefile \) -print |
    LC_ALL=C sort | xargs awk '
        length > 100 && !(FILENAME ~ /\.md$/ && /^ *\|/) {
            printf "%s:%d: %d columns\n", FILENAME, FNR, length
            bad = 1
        }
        END { exit bad }' || {
    echo 'lint: at most 100 columns; wrap these lines' >&2
    exit 1
}
