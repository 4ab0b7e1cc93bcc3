#!/bin/sh
# Makes sure that what a step needs is on this machine: `scripts/setup.sh build|test|lint`.
#
# Debian packages are installed where that may be done without asking (root, or sudo without a password). Where it
# may not, the exact command is printed and the script stops. Tools that Debian does not carry are built into
# target/tools, so that nothing outside the checkout changes. When everything is there, the script prints nothing.
set -eu
cd "$(dirname "$0")/.."

# Pinned, so that a new release of a linter cannot break an unchanged tree.
CARGO_DENY_VERSION=0.20.2
STATICCHECK_VERSION=v0.8.2
tools=$PWD/target/tools

missing=''      # Debian packages to install

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND PACKAGE: notes the package when the command is not there.
need() { have "$1" || missing="$missing $2"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# retry COMMAND...: up to three times. A network may fail once, and packages may be installed by somebody else just now.
retry() {
    for pause in 5 20 0; do
        if "$@"; then return 0; fi
        sleep "$pause"
    done
    return 1
}

# apt_get ARGUMENT...: apt-get without a word, which waits for another one to end.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" >/dev/null
}

# shellcheck disable=SC2086  # a list of package names, split on purpose
install_packages() { apt_get install -y --no-install-recommends $missing; }

update_and_install() { apt_get update && install_packages; }

# install_missing: installs what `need` noted, or names the command.
install_missing() {
    [ -n "$missing" ] || return 0
    have apt-get || die "missing, under Debian's package names:$missing
       Install them with this system's package manager, then run this again."
    as_root true || die "missing packages, and no right to install them here. Run
           sudo apt-get install -y$missing
       and then this again."
    printf 'setup: installing%s\n' "$missing"
    install_packages 2>/dev/null || retry update_and_install ||
        die "apt-get could not install them. Run
           sudo apt-get update && sudo apt-get install -y$missing
       to see why."
    missing=''
}

# at_least WANTED FOUND: is version FOUND the same as WANTED or newer?
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

setup_build() {
    if ! have cargo || ! have rustc; then die "cargo is not on the PATH. Install Rust with
           curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
       then open a new shell, or run: . \"\$HOME/.cargo/env\""; fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "$wanted" "${found%%-*}" || die "rustc $found is too old: Cargo.toml asks for $wanted or newer.
       With rustup:     rustup update stable && rustup default stable
       Without rustup (Debian's own rustc is too old for this), install it with
           curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
       and put \$HOME/.cargo/bin first on the PATH."
    have "${CC:-cc}" || need gcc gcc
    have cc || have gcc || [ -n "$missing" ] || need cc gcc
    printf '#include <stdlib.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 || missing="$missing libc6-dev"
    need objcopy binutils
    install_missing
}

# sanitizes COMPILER: can it build a program with the sanitizers, and does that program start?
sanitizes() {
    dir=$(mktemp -d)
    printf 'int main(void) { return 0; }\n' >"$dir/a.c"
    # For setarch see c-tests/run.sh.
    still=''
    if setarch -R true 2>/dev/null; then still='setarch -R'; fi
    # shellcheck disable=SC2086  # a command of two words, or nothing
    if "$1" -fsanitize=address,undefined -o "$dir/a" "$dir/a.c" >/dev/null 2>&1 && $still "$dir/a" >/dev/null 2>&1; then
        result=0
    else
        result=1
    fi
    rm -rf "$dir"
    return "$result"
}

# The package of the sanitizers' libraries, which is named after clang's version and comes apart from it.
sanitizer_package() {
    if have clang; then
        major=$(clang -dumpversion | cut -d . -f 1)
    else
        major=$(apt-cache depends clang 2>/dev/null | sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p')
    fi
    [ -n "$major" ] || return 0
    if apt-cache show "libclang-rt-$major-dev" >/dev/null 2>&1; then
        echo "libclang-rt-$major-dev"
    else
        echo "libclang-common-$major-dev"
    fi
}

compiles_cxx() { printf '#include <cstddef>\n' | "$1" -x c++ -std=c++17 -fsyntax-only - >/dev/null 2>&1; }

need_compilers() {
    need gcc gcc
    need clang clang
    compiles_cxx g++ || missing="$missing g++"
    need pkg-config pkg-config
}

# clang has no C++ library of its own here: it uses that of the newest gcc on the machine.
check_compilers() {
    compiles_cxx clang++ || die "clang++ cannot compile '#include <cstddef>': it takes the C++ library of the newest gcc
       installed, and that one has none. Run
           sudo apt-get install -y libstdc++-$(clang++ -v 2>&1 | sed -n 's/^Selected GCC.*\/\([0-9]*\)$/\1/p')-dev"
}

# Everything that is missing is gathered first, so that where it may not be installed there is one command to run.
setup_test() {
    setup_build
    if have apt-get && [ -z "$(apt-cache show clang 2>/dev/null)" ]; then apt_get update || true; fi
    # valgrind cannot start a program where the dynamic loader's symbols are missing: those of libc6-dbg.
    valgrind -q /bin/true >/dev/null 2>&1 || missing="$missing valgrind libc6-dbg"
    need python3 python3
    need_compilers
    need_go
    sanitizes clang || missing="$missing $(sanitizer_package)"
    install_missing
    check_compilers
    check_go
    # No package helps here, and all other tests are worth running: say it beforehand, and go on.
    unshare --map-root-user --mount true 2>/dev/null ||
        printf '%s\n' 'setup: this system lets nobody make a mount of his own: tests/read_only_fs.rs is going to fail.' \
            '       In a container, start it with --privileged; elsewhere run' \
            '           sudo sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0' >&2
    valgrind -q /bin/true >/dev/null 2>&1 || die 'valgrind cannot start a program; see: valgrind /bin/true'
    sanitizes clang || die "clang still cannot build or start a program with -fsanitize=address,undefined; see
           echo 'int main(void) { return 0; }' | clang -fsanitize=address,undefined -x c - -o /tmp/a && /tmp/a"
}

# The Go package, where it is part of the checkout: scripts/go.sh fetches the tool chain, with pip, where there is none.
need_go() {
    [ -f go-binding/go.mod ] || return 0
    scripts/go.sh --present >/dev/null 2>&1 || python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
}

# The go command fetches modules when it needs them, and gives up where that fails once: so they are fetched here. What
# cannot be had is told by the step that cannot do without.
check_go() {
    [ -f go-binding/go.mod ] || return 0
    go=$(scripts/go.sh)
    for module in go-binding go-binding/containerdtest; do
        retry list_imports "$module" || true
    done
}

# list_imports MODULE: has the go command look at every package that a module and its tests import.
list_imports() { (cd "$1" && "$go" list -deps -test ./... >/dev/null); }

# component NAME COMMAND: a part of the Rust tool chain that a minimal installation leaves out.
component() {
    cargo "$2" --version >/dev/null 2>&1 && return 0
    if have rustup; then
        retry rustup component add "$1"
    else
        die "\`cargo $2\` is missing, and there is no rustup to add it. Install the package of this rustc that carries $1."
    fi
}

setup_lint() {
    setup_build
    component rustfmt fmt
    component clippy clippy
    need mandoc mandoc
    need_compilers
    need_go
    install_missing
    check_compilers
    check_go
    # No package helps here, and all other tests are worth running: say it beforehand, and go on.
    unshare --map-root-user --mount true 2>/dev/null ||
        printf '%s\n' 'setup: this system lets nobody make a mount of his own: tests/read_only_fs.rs is going to fail.' \
            '       In a container, start it with --privileged; elsewhere run' \
            '           sudo sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0' >&2
    if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qxF "cargo-deny $CARGO_DENY_VERSION"; then
        printf 'setup: building cargo-deny %s into target/tools, once (some minutes)\n' "$CARGO_DENY_VERSION"
        # Unoptimized: a third of the time to build, and its one run takes seconds either way. Its default features
        # are for advisories and other platforms, which are not checked here.
        retry cargo install --quiet --locked --debug --config profile.dev.debug=false --no-default-features \
            --version "=$CARGO_DENY_VERSION" --root "$tools" --target-dir "$tools/build" cargo-deny
        rm -rf "$tools/build"
    fi
    [ -f go-binding/go.mod ] || return 0
    if ! "$tools/bin/staticcheck" -version 2>/dev/null | grep -qF "(${STATICCHECK_VERSION#v})"; then
        printf 'setup: building staticcheck %s into target/tools, once\n' "$STATICCHECK_VERSION"
        retry env GOBIN="$tools/bin" "$(scripts/go.sh)" install "honnef.co/go/tools/cmd/staticcheck@$STATICCHECK_VERSION"
    fi
}

case ${1:-} in
    build) setup_build ;;
    test) setup_test ;;
    lint) setup_lint ;;
    *) die "usage: scripts/setup.sh build|test|lint" ;;
esac
