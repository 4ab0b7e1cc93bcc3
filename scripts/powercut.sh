#!/bin/sh
# Cuts the power at every point of recorded work: scripts/powercut.sh everything|migration
#
# `everything` is all of tests/powercut, `migration` the part that `cargo test` alone cannot run: that of the program
# in Go. PM_POWERCUT and PM_SEED are as tests/powercut/main.rs says.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/powercut"
PM_MIGRATE=$(cd "$target/powercut" && pwd)/pm-migrate
export PM_MIGRATE
(cd go-binding && "$(../scripts/go.sh)" build -o "$PM_MIGRATE" ./cmd/pm-migrate)

# A short run is over before an optimized one would be built.
case $1 in
    everything) cargo test --release --test powercut -- --include-ignored --nocapture --test-threads=2 ;;
    migration) cargo test --test powercut -- --ignored --nocapture ;;
esac
