#!/bin/sh
# Writes an archive of the source that builds without a network: scripts/dist.sh [test]
#
# It has what git has of the last commit, and the crates of Cargo.lock in vendor/. With test, the
# archive that is there is unpacked and the library is built from it, without a network where this
# user may have a network namespace without one, and always with cargo told to use none.
set -eu
cd "$(dirname "$0")/.."
name=pool-metadata-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
archive=$PWD/target/$name.tar.xz
work=$(mktemp -d "$PWD/target/dist.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ "${1:-}" = test ]; then
    tar -xf "$archive" -C "$work"
    alone=''
    if unshare --map-root-user --net true 2>/dev/null; then
        alone='unshare --map-root-user --net'
    fi
    cd "$work/$name"
    # An empty home of cargo has no crates that vendor/ could lack unnoticed. rustup has its own.
    $alone env CARGO_HOME="$work/home" CARGO_NET_OFFLINE=true CARGO_TARGET_DIR="$work/target" \
        cargo rustc --release --locked --lib --crate-type cdylib,staticlib
    ls "$work/target/release/libpool_metadata.so" "$work/target/release/libpool_metadata.a" \
        >/dev/null
    echo 'dist: the archive builds without a network'
    exit 0
fi

git archive --prefix="$name/" HEAD | tar -x -C "$work"
mkdir -p "$work/$name/.cargo"
# cargo prints the settings that make it use vendor/, and with --quiet nothing.
(
    cd "$work/$name"
    cargo vendor --locked --versioned-dirs vendor >"$work/settings" 2>"$work/log" || {
        cat "$work/log" >&2
        exit 1
    }
    printf '\n' | cat - "$work/settings" >>.cargo/config.toml
)
# The time of the commit makes equal archives of equal commits.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    -C "$work" -cJf "$archive" "$name"
ls -l "$archive"
