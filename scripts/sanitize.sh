#!/bin/sh
# Runs the Rust tests with the library, LMDB's C and all of Rust compiled for a sanitizer, after a proof that it is
# there and finds what it must: scripts/sanitize.sh address|thread|miri [TEST...]
#
# The sanitizers are options of rustc that are not stable yet; RUSTC_BOOTSTRAP lets the stable compiler take them.
# ThreadSanitizer also has the standard library compiled anew, for which rustup's component rust-src must be there.
set -eu
cd "$(dirname "$0")/.."

die() {
    printf 'sanitize: %s\n' "$*" >&2
    exit 1
}

kind=${1:-}
[ $# = 0 ] || shift
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 PM_TEST_SLOW=1
std=''

need_source() {
    sysroot=$(rustc --print sysroot)
    [ -d "$sysroot/lib/rustlib/src/rust/library" ] && return
    rustup component add rust-src || die "the standard library's source is not there, and ThreadSanitizer cannot do
       without. With rustup: rustup component add rust-src"
}

case $kind in
address)
    # The standard library as it is shipped was compiled without; that is no obstacle to this one.
    export RUSTFLAGS='-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer -Cforce-frame-pointers=yes'
    mistakes='use-after-free use-after-free-in-lmdb'
    report='ERROR: AddressSanitizer: heap-use-after-free'
    ;;
thread)
    need_source
    std='-Zbuild-std'
    export RUSTFLAGS='-Zsanitizer=thread'
    export TSAN_OPTIONS="suppressions=$PWD/tests/sanitizers/thread.supp halt_on_error=1"
    mistakes='race race-in-lmdb'
    report='WARNING: ThreadSanitizer: data race'
    ;;
miri)
    cargo +nightly miri --version >/dev/null 2>&1 ||
        die 'no Miri here. With rustup: rustup toolchain install nightly --component miri --component rust-src'
    # Left out, since Miri would need hours for them: a test of the queue with very many turns, where loom looks at
    # fewer and at every order of them, and one with texts of full length; and one that looks at real times.
    # The property test of the record reader wants to know where it is, to keep what it finds.
    export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=10
    exec cargo +nightly miri test --lib --target-dir target/miri -- \
        record:: header:: digest:: crc:: verify::page:: pool::queue \
        --skip every_one_of_many --skip texts_longer --skip learns_how_long "$@"
    ;;
*)
    die 'address, thread or miri?'
    ;;
esac

CC=${CC:-clang}
CFLAGS="${CFLAGS:-} -fsanitize=$kind -fno-omit-frame-pointer -g"
export CC CFLAGS

# in_cargo SUBCOMMAND ARGUMENT...
in_cargo() {
    subcommand=$1
    shift
    # shellcheck disable=SC2086  # an option or nothing
    cargo "$subcommand" $std --target "$target" --target-dir "target/sanitize-$kind" "$@"
}

in_cargo build --quiet --example sanitizer_proof
for mistake in $mistakes; do
    if output=$("target/sanitize-$kind/$target/debug/examples/sanitizer_proof" "$mistake" 2>&1); then
        die "did not notice a $mistake: $output"
    fi
    case $output in
    *"$report"*) printf 'sanitize: %s finds a %s\n' "$kind" "$mistake" ;;
    *) die "a $mistake ended otherwise than with a report: $output" ;;
    esac
done

skip=''
if [ $# != 0 ]; then
    :
elif [ "$kind" = thread ]; then
    set -- --lib --test apply --test close --test concurrent --test import --test open_twice --test update
else
    # Without powercut, whose processes are traced, which a sanitizer's search for leaks cannot share; without those that
    # give a process little address space, into which a sanitizer's own memory does not fit; and without the one that
    # expects LMDB to die of a signal, where a sanitizer ends it with a report.
    set -- --lib
    for file in tests/*.rs tests/*/main.rs; do
        name=${file#tests/}
        name=${name%.rs}
        name=${name%/main}
        [ "$name" = powercut ] || set -- "$@" --test "$name"
    done
    skip='--skip a_small_map_follows_a_file_that_a_large_one_makes_longer --skip with_little_address_space_less_is_mapped
        --skip lmdb_alone_dies_of_it'
fi
# shellcheck disable=SC2086  # options or nothing
in_cargo test --no-fail-fast "$@" -- $skip
printf 'sanitize: %s: all passed\n' "$kind"
