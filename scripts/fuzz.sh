#!/bin/sh
# Fuzzes the library with AddressSanitizer, LMDB's C included: scripts/fuzz.sh SECONDS [TARGET...]
#
# What the targets find stays in fuzz/artifacts; new inputs go to target/fuzz-corpus, beside the few that fuzz/corpus
# keeps. cargo-fuzz asks for a nightly compiler; RUSTC_BOOTSTRAP lets the stable one take the same options.
set -eu
cd "$(dirname "$0")/.."

CARGO_FUZZ_VERSION=0.13.2
tools=$PWD/target/tools
if ! "$tools/bin/cargo-fuzz" --version 2>/dev/null | grep -qxF "cargo-fuzz $CARGO_FUZZ_VERSION"; then
    printf 'fuzz: building cargo-fuzz %s into target/tools, once (a minute)\n' "$CARGO_FUZZ_VERSION"
    cargo install --quiet --locked --debug --config profile.dev.debug=false \
        --version "=$CARGO_FUZZ_VERSION" --root "$tools" --target-dir "$tools/build" cargo-fuzz
    rm -rf "$tools/build"
fi
PATH=$tools/bin:$PATH
export PATH RUSTC_BOOTSTRAP=1
export CC="${CC:-clang}" CFLAGS="${CFLAGS:-} -fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -g"
export RUSTFLAGS="${RUSTFLAGS:-} -Cunsafe-allow-abi-mismatch=sanitizer"

seconds=$1
shift
[ $# != 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' fuzz/Cargo.toml)
for name in "$@"; do
    found=target/fuzz-corpus/$name
    mkdir -p "$found" "fuzz/corpus/$name"
    printf 'fuzz: %s for %s s\n' "$name" "$seconds"
    # Leaks are the tests' matter: what a store keeps for ever, a few bytes each, is on purpose.
    cargo fuzz run --target-dir target/fuzz "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -detect_leaks=0 -print_final_stats=1 -verbosity=1
done
