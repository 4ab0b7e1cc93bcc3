#!/bin/sh
# Runs the tests of the Go package in several ways, each of which finds other defects:
# scripts/test-go.sh
#
# The Makefile sets the path of the installed library, for the run that uses it.
set -eu
cd "$(dirname "$0")/.."
. scripts/go-env.sh
scripts/lint-go.sh quick
cd go-binding

# go_test WHAT [VARIABLE=VALUE...] -- ARGUMENT...
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

go_test 'everything, with the race detector' -- -race ./...
go_test 'allocations' -- .
go_test 'a garbage collection at every opportunity' GOGC=1 -- .
go_test "cgo's pointer checks, all of them" GODEBUG=cgocheck=1 GOEXPERIMENT=cgocheck2 -- .
go_test 'the installed library' -- -tags pm_pkgconfig .

# The module in containerdtest has a script of its own, test-containerd.sh.
echo 'test-go: all passed'
