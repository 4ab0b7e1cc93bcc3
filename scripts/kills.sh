#!/bin/sh
# Kills writers in C, Go and Rust at random moments, while other processes use the same store:
# scripts/kills.sh COUNT
#
# PM_SEED selects the random moments; see tests/kills/main.rs.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/kills"
out=$(cd "$target/kills" && pwd)
libraries=$(cd "$target/release" && pwd)

# With the new tags, a library of LD_LIBRARY_PATH would come before this one.
# shellcheck disable=SC2086  # the compiler may have options, or a program before it
${CC:-cc} -std=c99 -O1 -g -Wall -Wextra -Werror -D_GNU_SOURCE -Iinclude \
    c-tests/victim.c -o "$out/victim-c" "$libraries/libpool_metadata.so" \
    -Wl,--disable-new-dtags,-rpath,"$libraries"
(cd go-binding && link_go "$out/victim-go" ./internal/victim)

PM_KILLS=$1 PM_VICTIMS="$out/victim-c $out/victim-go" cargo test --test kills -- --nocapture
