#!/bin/sh
# Builds the library for other machines and tests it there, as far as an emulator can: make
# test-cross.
#
# aarch64 runs in qemu's user-mode emulation, with the C tests below, the Rust unit tests and the
# fixtures of the file format; a store that it has written is verified here, and one from here
# there. musl runs on this machine: a static program, which must not share a store with one for
# glibc.
set -eu
cd "$(dirname "$0")/.."
make=${MAKE:-make}
build=${CARGO_TARGET_DIR:-target}
mkdir -p "$build/cross"
work=$(cd "$build/cross" && pwd)
arm=aarch64-unknown-linux-gnu
root=/usr/aarch64-linux-gnu
emulate="qemu-aarch64-static -L $root"
"$make" --no-print-directory all
"$make" --no-print-directory all TARGET=$arm
"$make" --no-print-directory all TARGET="$(uname -m)-unknown-linux-musl"
libs=$(sed -n 's/^LIBS_PRIVATE *:= *//p' Makefile)

# program COMPILER ARCHIVE OUT [FLAG...]: the program below, linked statically to an archive.
program() {
    compiler=$1 archive=$2 out=$3
    shift 3
    # shellcheck disable=SC2086  # a list of libraries, split on purpose
    "$compiler" -std=c99 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -Iinclude "$@" \
        tests/install/cross.c "$archive" $libs -o "$out"
}
program cc "$build/dist/libpool_metadata.a" "$work/own"
program aarch64-linux-gnu-gcc "$build/$arm/dist/libpool_metadata.a" "$work/arm" -static
program musl-gcc "$build/$(uname -m)-unknown-linux-musl/dist/libpool_metadata.a" "$work/musl" \
    -static

stores=$(mktemp -d)
trap 'rm -rf "$stores"' EXIT
# A store from one machine is read, written and verified on the other.
"$work/own" write "$stores/from-here" 300
$emulate "$work/arm" read "$stores/from-here" 300
$emulate "$work/arm" write "$stores/from-here" 400
"$work/own" read "$stores/from-here" 700
$emulate "$work/arm" write "$stores/from-there" 300
"$work/own" read "$stores/from-there" 300
echo 'test-cross: stores move between x86-64 and aarch64'

# Two C libraries: one after the other, and never at once.
"$work/musl" read "$stores/from-here" 700
"$work/own" beside "$stores/from-here" "$work/musl"
"$work/musl" beside "$stores/from-here" "$work/own"
echo 'test-cross: a store that glibc has open is refused to musl, and the other way round'

# What make installs for the other machine: all of it for aarch64, the library for musl.
MAKE=$make tests/install/cross.sh $arm install aarch64-linux-gnu-gcc $emulate
MAKE=$make tests/install/cross.sh "$(uname -m)-unknown-linux-musl" install-library musl-gcc

# Programs whose tests start no other process: the emulator does not start programs for aarch64 by
# themselves. It has no robust mutexes either, so that tests that kill are left out with those.
${CARGO:-cargo} build --quiet --example craft_store
export PM_TEST_CRAFT="$build/debug/examples/craft_store"
failed=''
# shellcheck disable=SC2086
for test in test_version test_device test_changes test_update test_walk test_import test_stats \
    test_backup test_error test_null; do
    aarch64-linux-gnu-gcc -std=c99 -D_GNU_SOURCE -O1 -Iinclude \
        -DPM_EXPECTED_VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)" \
        c-tests/$test.c c-tests/check.c c-tests/files.c c-tests/peers.c c-tests/runner.c \
        "$build/$arm/dist/libpool_metadata.a" $libs -o "$work/$test"
    $emulate "$work/$test" >"$work/$test.log" || failed="$failed $test"
    grep -v '^plan' "$work/$test.log" || true
done
[ -z "$failed" ] || {
    echo "test-cross: failed:$failed" >&2
    exit 1
}

# Six unit tests need a fork beside other threads, or more speed than the emulator has; one test of
# the format starts a process for aarch64.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulate"
${CARGO:-cargo} test --lib --target $arm -- --skip forked_child --skip wait_for_a_larger_map_once \
    --skip behind_a_commit_that_stalls
${CARGO:-cargo} test --test format --target $arm -- --skip while_another_process_has_it
echo 'test-cross: all passed'
