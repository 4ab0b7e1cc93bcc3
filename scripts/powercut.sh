#!/bin/sh
# Simulates a power cut at every point of recorded work: scripts/powercut.sh everything|migration
#
# `everything` runs all of tests/powercut; `migration` only the part that needs a program in Go,
# which `cargo test` alone leaves out. For PM_POWERCUT and PM_SEED see tests/powercut/main.rs.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/powercut"
PM_MIGRATE=$(cd "$target/powercut" && pwd)/pm-migrate
export PM_MIGRATE
(cd go-binding && "$(../scripts/go.sh)" build -o "$PM_MIGRATE" ./cmd/pm-migrate)

# The short run takes less time than an optimized build would.
case $1 in
    everything)
        cargo test --release --test powercut -- --include-ignored --nocapture --test-threads=2
        ;;
    migration) cargo test --test powercut -- --ignored --nocapture ;;
esac
