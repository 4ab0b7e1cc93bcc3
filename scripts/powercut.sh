#!/bin/sh
# Simulates a power cut at every point of recorded work: scripts/powercut.sh everything|go
#
# `everything` runs all of tests/powercut; `go` only the parts that need programs in Go, which
# `cargo test` alone leaves out. For PM_POWERCUT and PM_SEED see tests/powercut/main.rs.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/powercut"
PM_MIGRATE=$(cd "$target/powercut" && pwd)/pm-migrate
PM_SNAPSHOTTERS=$(dirname "$PM_MIGRATE")/snapshotters
export PM_MIGRATE PM_SNAPSHOTTERS
(cd go-binding && link_go "$PM_MIGRATE" ./cmd/pm-migrate)
# Those of a version that go.mod has no longer would be tested too.
rm -rf "$PM_SNAPSHOTTERS"
(cd go-binding/containerdtest && go run ./scenario/build -out "$PM_SNAPSHOTTERS")

# The short run takes less time than an optimized build would.
case $1 in
    everything)
        cargo test --release --test powercut -- --include-ignored --nocapture --test-threads=2
        ;;
    go) cargo test --test powercut -- --ignored --nocapture ;;
esac
