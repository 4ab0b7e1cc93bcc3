#!/bin/sh
# The tests of the Go package, in each of the ways that find something: scripts/test-go.sh
#
# The Makefile sets where the installed library is found, for the run that uses it.
set -eu
cd "$(dirname "$0")/.."
go=$(scripts/go.sh)
# The tests start the Go tool too.
PATH=$(dirname "$go"):$PATH
# Go's build cache looks at no file outside of a package. This makes it see a header that has changed.
CGO_CFLAGS="-g -O2 -DPMGO_HEADER=$(cksum <include/pool_metadata.h | cut -d ' ' -f 1)"
export PATH CGO_CFLAGS

# go_test WHAT VARIABLE... -- ARGUMENT...
go_test() {
    printf 'test-go: %s\n' "$1"
    shift
    variables=''
    while [ "$1" != -- ]; do
        variables="$variables $1"
        shift
    done
    shift
    # shellcheck disable=SC2086  # a list of settings, split on purpose
    env $variables go test -count=1 -timeout=60m "$@"
}

cd go-binding
scripts=../scripts
"$scripts/lint-go.sh" quick
go_test 'everything, with the race detector' -- -race ./...
go_test 'allocations' -- .
go_test 'a collection of garbage at every turn' GOGC=1 -- .
go_test "cgo's pointer checks, all of them" GODEBUG=cgocheck=1 GOEXPERIMENT=cgocheck2 -- .
go_test 'the installed library' -- -tags pm_pkgconfig .

# The module in containerdtest has a script of its own, test-containerd.sh.
echo 'test-go: all passed'
