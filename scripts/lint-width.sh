#!/bin/sh
# Fails where a line of source or documentation has more than 100 columns: scripts/lint-width.sh
#
# Rows of tables in Markdown cannot be wrapped and are exempt. rustfmt checks the width of code in
# Rust, but not that of comments and strings.
set -eu
cd "$(dirname "$0")/.."

find . \( -name target -o -name .git -o -name testdata \) -prune -o -type f \( \
    -name '*.rs' -o -name '*.go' -o -name '*.[ch]' -o -name '*.cpp' -o -name '*.sh' \
    -o -name '*.py' -o -name '*.md' -o -name '*.toml' -o -name '*.in' -o -name '*.7' \
    -o -name '*.mk' -o -name Makefile \) -print |
    LC_ALL=C sort | xargs awk '
        length > 100 && !(FILENAME ~ /\.md$/ && /^ *\|/) {
            printf "%s:%d: %d columns\n", FILENAME, FNR, length
            bad = 1
        }
        END { exit bad }' || {
    echo 'lint: at most 100 columns; wrap these lines' >&2
    exit 1
}
