# What the scripts that run the go command source, at the top of the checkout. It puts a suitable go
# first on the PATH, because the tests start the go command too, and keeps away what the caller has
# set of it, or has above the checkout.
go=$(scripts/go.sh)
PATH=$(dirname "$go"):$PATH
# Its build cache ignores files outside of packages and what pkg-config says. With another value of
# -D, which the compiler ignores, it compiles the Go package again, and the package's C.
seen=$({ cat include/pool_metadata.h && echo "${PKG_CONFIG_PATH:-}"; } | cksum | cut -d ' ' -f 1)
# Without a version of git's in programs: git refuses to read the checkout of another user.
GOFLAGS="-buildvcs=false -gcflags=github.com/pool-metadata/pool-metadata/go-binding=-D=seen-$seen"
export PATH GOFLAGS GOWORK=off

# link_go OUT ARGUMENT...: has the go command build a program. It would not link one again for
# another archive alone.
link_go() {
    rm -f "$1"
    go build -o "$@"
}
