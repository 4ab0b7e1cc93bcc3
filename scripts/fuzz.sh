#!/bin/sh
# Fuzzes the library with AddressSanitizer, LMDB's C included: scripts/fuzz.sh SECONDS [TARGET...]
# Runs the seeds of every target, without the sanitizer: scripts/fuzz.sh seeds
#
# Crashes are kept in fuzz/artifacts, new inputs in target/fuzz-corpus. fuzz/corpus has at most ten
# seeds for each target, chosen to cover the most. cargo-fuzz uses options of the nightly compiler;
# RUSTC_BOOTSTRAP makes the stable one accept them. `make fuzz` has installed cargo-fuzz.
set -eu
cd "$(dirname "$0")/.."

# A closed handle keeps a few bytes for ever, by design, which is a leak to the sanitizer.
limits='-rss_limit_mb=4096 -detect_leaks=0'
seconds=$1
shift
[ $# != 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' fuzz/Cargo.toml)

if [ "$seconds" = seeds ]; then
    out=${CARGO_TARGET_DIR:-target}/fuzz-seeds
    CARGO_PROFILE_DEV_DEBUG=0 RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing" ${CARGO:-cargo} build \
        --locked --manifest-path fuzz/Cargo.toml --target-dir "$out"
    for name in "$@"; do
        printf 'fuzz: the seeds of %s\n' "$name"
        # shellcheck disable=SC2086  # the options are words
        "$out/debug/$name" -timeout=60 $limits "fuzz/corpus/$name"/* >"$out/log" 2>&1 || {
            cat "$out/log" >&2
            exit 1
        }
    done
    exit 0
fi

PATH=$PWD/target/tools/bin:$PATH
export PATH RUSTC_BOOTSTRAP=1 CC="${CC:-clang}"
export CFLAGS="${CFLAGS:-} -fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -g"
export RUSTFLAGS="${RUSTFLAGS:-} -Cunsafe-allow-abi-mismatch=sanitizer"
for name in "$@"; do
    found=target/fuzz-corpus/$name
    mkdir -p "$found" "fuzz/corpus/$name"
    printf 'fuzz: %s for %s s\n' "$name" "$seconds"
    # shellcheck disable=SC2086  # the options are words
    cargo fuzz run --target-dir target/fuzz "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -timeout=10 $limits -print_final_stats=1 -verbosity=1
done
