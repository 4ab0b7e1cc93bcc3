#!/bin/sh
# Runs the Rust tests with the library and LMDB's C compiled for a sanitizer, or in Miri, after a
# proof that the sanitizer works: scripts/sanitize.sh address|thread|miri [TEST...]
#
# Sanitizers are unstable options of rustc; RUSTC_BOOTSTRAP makes the stable compiler accept them.
# ThreadSanitizer needs the standard library compiled with it too, from rustup's component rust-src.
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
    [ "${SETUP:-1}" != 0 ] || die 'missing, and not installed because of SETUP=0: rust-src. Run
           rustup component add rust-src
       and then this again.'
    echo 'sanitize: installing rust-src: rustup component add rust-src'
    rustup component add rust-src ||
        die "ThreadSanitizer needs the standard library's source, rustup's component rust-src"
}

case $kind in
address)
    # The standard library was compiled without AddressSanitizer, which may be mixed like that.
    RUSTFLAGS='-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer'
    export RUSTFLAGS="$RUSTFLAGS -Cforce-frame-pointers=yes"
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
    cargo +nightly miri --version >/dev/null 2>&1 || die 'no Miri here. With rustup:
           rustup toolchain install nightly --component miri --component rust-src'
    # Skipped: tests with very many turns and one with texts of full length, for which Miri needs
    # hours (loom covers the turns), and one that depends on real time. Isolation is off because the
    # property test of the record decoder asks for the current directory.
    export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=10
    exec cargo +nightly miri test --lib --target-dir target/miri -- \
        format:: verify::page:: sync::commit_queue sync::fifo sync::reader_queue sync::writer_gate \
        --skip each_of_many_threads --skip deadline_at_the_moment --skip text_longer \
        --skip group_commit_delay "$@"
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
proof=target/sanitize-$kind/$target/debug/examples/sanitizer_proof
for mistake in $mistakes; do
    if output=$("$proof" "$mistake" 2>&1); then
        die "did not notice a $mistake: $output"
    fi
    case $output in
    *"$report"*) printf 'sanitize: %s finds a %s\n' "$kind" "$mistake" ;;
    *) die "a $mistake ended without the report: $output" ;;
    esac
done

skip=''
if [ $# != 0 ]; then
    :
elif [ "$kind" = thread ]; then
    set -- --lib --test close --test concurrent --test meaning --test open_twice \
        --test panics
else
    # Left out: powercut, which traces its processes, as LeakSanitizer must; tests with a small
    # address space, into which a sanitizer's shadow memory does not fit; and the one that expects
    # LMDB to die of a signal, where a sanitizer ends the process with a report.
    set -- --lib
    for file in tests/*.rs tests/*/main.rs; do
        name=${file#tests/}
        name=${name%.rs}
        name=${name%/main}
        [ "$name" = powercut ] || set -- "$@" --test "$name"
    done
    skip='--skip small_map_follows_a_file_that_a_large_map_makes_longer
        --skip map_leaves_room_whatever_address_space_is_free
        --skip little_address_space_makes_the_map_smaller --skip lmdb_alone_dies_of_such_damage'
fi
# shellcheck disable=SC2086  # options or nothing
in_cargo test --no-fail-fast "$@" -- $skip
printf 'sanitize: %s: all passed\n' "$kind"
