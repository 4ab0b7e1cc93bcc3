#!/bin/sh
# Fuzzes the library with AddressSanitizer, LMDB's C included: scripts/fuzz.sh SECONDS [TARGET...]
#
# Crashes are kept in fuzz/artifacts, new inputs in target/fuzz-corpus. fuzz/corpus has at most ten
# seeds for each target, chosen to cover the most. cargo-fuzz uses options of the nightly compiler;
# RUSTC_BOOTSTRAP makes the stable one accept them. `make fuzz` has installed cargo-fuzz.
set -eu
cd "$(dirname "$0")/.."

PATH=$PWD/target/tools/bin:$PATH
export PATH RUSTC_BOOTSTRAP=1 CC="${CC:-clang}"
export CFLAGS="${CFLAGS:-} -fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -g"
export RUSTFLAGS="${RUSTFLAGS:-} -Cunsafe-allow-abi-mismatch=sanitizer"

seconds=$1
shift
[ $# != 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' fuzz/Cargo.toml)
for name in "$@"; do
    found=target/fuzz-corpus/$name
    mkdir -p "$found" "fuzz/corpus/$name"
    printf 'fuzz: %s for %s s\n' "$name" "$seconds"
    # A closed handle keeps a few bytes for ever, by design, which is a leak to the sanitizer.
    cargo fuzz run --target-dir target/fuzz "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -detect_leaks=0 \
        -print_final_stats=1 -verbosity=1
done
