#!/bin/sh
# The README's C and Python are what they say: built and run as written, against an installation.
# readme.sh PREFIX (Its Rust is compiled as a documentation test, see the end of src/lib.rs.)
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
block() { awk -v start="\`\`\`$1" '$0 == start { on = 1; next } /^```$/ && on { exit } on' README.md; }

for page in README.md docs/*.md; do
    # Links into the tree; a #part is left to the reader.
    sed -n 's/](/\n](/gp' "$page" | sed -n 's/^](\([^)#:]*\)[)#].*/\1/p' | while read -r link; do
        [ -z "$link" ] || [ -e "$(dirname "$page")/$link" ] || echo "$page links to $link, which is not there"
    done
done >"$work/links"
[ ! -s "$work/links" ] || fail "$(cat "$work/links")"

block c >"$work/base.c"
block python >"$work/client.py"
if ! [ -s "$work/base.c" ] || ! [ -s "$work/client.py" ]; then fail 'README.md has lost a code block'; fi
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
# The commands under the C block, as they stand.
sed -n 's/^\(cc .*base\.c [^#]*\).*/\1/p' README.md >"$work/commands"
[ "$(wc -l <"$work/commands")" = 2 ] || fail 'README.md has lost the commands that build its C'
while read -r command; do
    rm -f "$work"/base.db* "$work/base"
    (cd "$work" && sh -c "$command") || fail "failed: $command"
    [ "$("$work/base" "$work/base.db")" = 'base is device 1' ] || fail "printed something else, built by: $command"
done <"$work/commands"
if "$work/base" "$work/base.db" 2>"$work/again"; then fail 'adding base twice was no error'; fi
grep -q base "$work/again" || fail "the message does not name the device: $(cat "$work/again")"
python3 "$work/client.py" "$work/base.db" || fail 'the Python client failed'
if python3 "$work/client.py" "$work/other.db" 2>"$work/python"; then fail 'the Python client found what is not there'; fi
grep -q 'OSError: .*base' "$work/python" || fail "the Python client's error: $(cat "$work/python")"
