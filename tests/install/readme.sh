#!/bin/sh
# Builds and runs the README's examples in C, Python and Go as they are written, against an
# installation: readme.sh PREFIX
#
# The README's Rust is compiled as a documentation test, see the end of src/lib.rs.
set -eu
prefix=$1
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'readme: %s\n' "$*" >&2
    exit 1
}

# block LANGUAGE: the first code block in it.
block() {
    awk -v start="\`\`\`$1" '$0 == start { on = 1; next } /^```$/ && on { exit } on' README.md
}

for language in c python go; do
    block "$language" >"$work/block.$language"
    [ -s "$work/block.$language" ] || fail "README.md has lost its $language"
done
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"

# The commands under the C block, as they stand.
mkdir "$work/c"
cp "$work/block.c" "$work/c/base.c"
sed -n 's/^\(cc .*base\.c [^#]*\).*/\1/p' README.md >"$work/commands"
[ "$(wc -l <"$work/commands")" = 2 ] || fail 'README.md has lost the commands that build its C'
while read -r command; do
    rm -f "$work"/c/metadata.db* "$work/c/base"
    (cd "$work/c" && sh -c "$command") || fail "failed: $command"
    [ "$(cd "$work/c" && ./base)" = 'base is device 1' ] || fail "wrong output, built by: $command"
done <"$work/commands"
if (cd "$work/c" && ./base) 2>"$work/again"; then fail 'adding base twice was no error'; fi
grep -q base "$work/again" || fail "the message does not name the device: $(cat "$work/again")"

(cd "$work/c" && python3 "$work/block.python") || fail 'the Python client failed'
mkdir "$work/empty"
if (cd "$work/empty" && python3 "$work/block.python") 2>"$work/log"; then
    fail 'the Python client suspended a device that is not there'
fi
grep -q 'OSError: pm_change_device_state: status 1' "$work/log" || fail "$(cat "$work/log")"

[ -f go-binding/go.mod ] || exit 0
{
    printf 'package main\n\nimport (\n\t"context"\n\t"fmt"\n\n'
    printf '\tpoolmetadata "github.com/pool-metadata/pool-metadata/go-binding"\n)\n\n'
    printf 'func example(ctx context.Context) error {\n'
    cat "$work/block.go"
    printf '}\n\nfunc main() { fmt.Println(example(context.Background())) }\n'
} >"$work/main.go"
. scripts/go-env.sh
(cd go-binding && link_go "$work/go-example" -tags pm_pkgconfig "$work/main.go") ||
    fail 'the Go example does not build'
mkdir "$work/go"
[ "$(cd "$work/go" && "$work/go-example")" = '<nil>' ] || fail 'the Go example failed'
again=$(cd "$work/go" && "$work/go-example")
case $again in
*base*) ;;
*) fail "the second run of the Go example printed: $again" ;;
esac
