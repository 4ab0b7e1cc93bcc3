#!/bin/sh
# With REPRODUCIBLE=1, the libraries hold no path of the machine that built them: reproducible.sh
# DIRECTORY, where they are built anew.
set -eu
mkdir -p "$1"
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
CARGO_TARGET_DIR="$build" scripts/fresh-make.sh REPRODUCIBLE=1 all >"$build/log" 2>&1 || {
    cat "$build/log" >&2
    exit 1
}
cargo=${CARGO_HOME:-$HOME/.cargo}
for file in "$build/release/libpool_metadata.so" "$build/dist/libpool_metadata.a"; do
    for path in "$cargo" "$PWD" "$build" "$HOME"; do
        # Where the home directory is short, it is a part of other paths.
        [ "${#path}" -gt 2 ] || continue
        found=$(strings -a "$file" | grep -F -m 3 -- "$path/" || true)
        [ -z "$found" ] || {
            printf 'reproducible: %s holds a path of this machine:\n%s\n' "$file" "$found" >&2
            exit 1
        }
    done
    strings -a "$file" | grep -q '^/cargo/registry' || {
        echo "reproducible: no path was rewritten in $file: this test finds nothing" >&2
        exit 1
    }
done
echo 'reproducible: no path of this machine is in the libraries'
