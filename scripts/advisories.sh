#!/bin/sh
# Checks the crates in Cargo.lock against the RustSec advisory database: scripts/advisories.sh
#
# cargo-deny clones the database into target/tools and brings it up to date. Where its repository
# cannot be reached (no route, a mirror of crates.io only), the script says that nothing was
# checked, and why, and succeeds: everything else in `make lint` is still worth running there. Every
# other error fails. A mirror is used with git's own url.<mirror>.insteadOf.
set -eu
cd "$(dirname "$0")/.."
database=https://github.com/RustSec/advisory-db

export GIT_TERMINAL_PROMPT=0
if error=$(timeout 60 git ls-remote "$database" refs/heads/main 2>&1 >/dev/null); then
    exec target/tools/bin/cargo-deny --workspace check advisories
fi
printf 'lint: ADVISORIES WERE NOT CHECKED: %s cannot be reached:\n' "$database" >&2
printf '%s\n' "${error:-no answer within 60 seconds}" | sed 's/^/    /' >&2
