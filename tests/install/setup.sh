#!/bin/sh
# scripts/setup.sh prints what it installs before it does, and installs nothing with SETUP=0. It
# runs in a copy of the tree, with a PATH that lacks valgrind, clang and mandoc, and with stubs of
# apt-get and cargo that only record their calls.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'setup test: %s\n' "$*" >&2
    cat "$work/log" >&2
    exit 1
}

mkdir -p "$work/tree/scripts" "$work/bin"
cp scripts/setup.sh scripts/setup-containerd.sh "$work/tree/scripts"
cp Cargo.toml "$work/tree"
for command in sh cat cc cut dirname env gcc grep head mktemp objcopy printf rm sed setarch sort \
    true unshare; do
    ln -s "$(command -v "$command")" "$work/bin/$command"
done

# stub NAME SCRIPT
stub() {
    printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
stub id 'echo 0'
stub git ':'
stub rustc 'echo rustc 9.0.0'
stub apt-cache ':'
stub sleep ':'
stub apt-get 'echo "CALLED apt-get $*" >>"$LOG"'
stub cargo 'case $* in *--list*) ;; install*) echo "CALLED cargo $*" >>"$LOG"; exit 1 ;; esac'

# run STEP SETTING: runs the step, with its output in $work/log. It must fail, since the stubs
# install nothing.
run() {
    : >"$work/log"
    if (cd "$work/tree" && env -i "$2" HOME="$HOME" PATH="$work/bin" LOG="$work/log" \
        scripts/setup.sh "$1" >>"$work/log" 2>&1); then fail "setup.sh $1 did not fail"; fi
}

line_of() { sed -n "/$1/{=;q;}" "$work/log"; }

run test SETUP=0
if grep -q CALLED "$work/log"; then fail 'SETUP=0 installed something'; fi
grep -q 'apt-get install .* valgrind ' "$work/log" || fail 'SETUP=0 names no command'

run test SETUP=1
said=$(line_of 'setup: installing Debian packages:.* valgrind .* clang')
called=$(line_of 'CALLED apt-get .*install')
[ -n "$said" ] && [ -n "$called" ] || fail 'no announcement, or no installation'
[ "$said" -lt "$called" ] || fail 'packages are installed before they are named'

# With everything else in place, the tools of lint.
for command in clang mandoc pkg-config python3; do stub "$command" ':'; done
stub g++ ':'
stub clang++ ':'
run lint SETUP=0
if grep -q CALLED "$work/log"; then fail 'SETUP=0 built something'; fi
grep -q 'cargo install .* cargo-deny' "$work/log" || fail 'SETUP=0 names no command for cargo-deny'
run lint SETUP=1
said=$(line_of 'setup: installing cargo-deny')
called=$(line_of 'CALLED cargo install')
[ -n "$said" ] && [ -n "$called" ] || fail 'no announcement of cargo-deny, or no installation'
[ "$said" -lt "$called" ] || fail 'cargo-deny is installed before it is named'
echo 'setup: says what it installs before it does, and nothing is installed with SETUP=0'
