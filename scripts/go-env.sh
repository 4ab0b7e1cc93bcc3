# The common start of the scripts that run the go command; they source it. It goes to the top of the
# checkout and puts a suitable go first on the PATH, because the tests start the go command too.
set -eu
cd "$(dirname "$0")/.."
go=$(scripts/go.sh)
PATH=$(dirname "$go"):$PATH
export PATH

# see_changes FILE...: makes the go command compile C again if a file has changed, or if pkg-config
# finds the library elsewhere. Its build cache ignores files outside of packages, and what
# pkg-config says.
see_changes() {
    CGO_CFLAGS="-g -O2 -DPMGO_FILES=$({ cat "$@" && echo "${PKG_CONFIG_PATH:-}"; } | cksum |
        cut -d ' ' -f 1)"
    export CGO_CFLAGS
}
