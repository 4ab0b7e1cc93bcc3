#!/bin/sh
# Installs a build for another machine into a temporary root, and builds and runs a program with
# what is there: cross.sh TARGET install|install-library COMPILER [EMULATOR...]
set -eu
cd "$(dirname "$0")/../.."
target=$1 what=$2 compiler=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dest=$work/dest
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

fail() {
    printf 'cross: %s: %s\n' "$target" "$*" >&2
    exit 1
}

run_make() {
    scripts/fresh-make.sh "$@" TARGET="$target" DESTDIR="$dest" PREFIX=/usr \
        >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "make $* failed"
    }
}

# The manual pages are those of every machine, so only their directories are compared.
run_make "$what"
{
    printf '%s\n' include/pool_metadata.h lib/libpool_metadata.a lib/pkgconfig/pool-metadata.pc \
        share/man/man3 share/man/man7
    case $target in
        *-musl) ;;
        *) printf 'lib/libpool_metadata.so%s\n' '' .0 ".$version" ;;
    esac
    [ "$what" = install-library ] || printf '%s\n' bin/pmctl share/man/man1 \
        share/bash-completion/completions/pmctl share/zsh/site-functions/_pmctl \
        share/fish/vendor_completions.d/pmctl.fish
} | LC_ALL=C sort >"$work/expected"
(cd "$dest/usr" && find . \( -type f -o -type l \)) | sed 's|^\./||; s|\(/man.\)/.*|\1|' |
    LC_ALL=C sort -u >"$work/installed"
diff -u "$work/expected" "$work/installed" >&2 || fail 'other files were installed'
dangling=$(find "$dest" -type l ! -exec test -e {} \; -print)
[ -z "$dangling" ] || fail "links that lead nowhere: $dangling"

# Every object is for that machine: the two names that readelf has for them, and no third.
for file in "$dest"/usr/lib/libpool_metadata.* "$dest"/usr/bin/*; do
    [ -e "$file" ] || continue
    machines=$(readelf -h "$file" | sed -n 's/^ *Machine: *//p' | sort -u)
    case $target:$machines in
        aarch64-*:AArch64 | x86_64-*:'Advanced Micro Devices X86-64') ;;
        *) fail "$file is for: $machines" ;;
    esac
done

# As a user of the installation builds, with pkg-config and a system root.
export PKG_CONFIG_SYSROOT_DIR="$dest" PKG_CONFIG_LIBDIR="$dest/usr/lib/pkgconfig"
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
# build PROGRAM OPTION...: a program on the installed library.
build() {
    program=$1
    shift
    # shellcheck disable=SC2046  # flags are words
    "$compiler" tests/install/cross.c "$@" $(pkg-config ${1:+--static} --cflags --libs \
        pool-metadata) -o "$work/$program"
}
# try PROGRAM [EMULATOR...]: writes a store by the program, and reads it again.
try() {
    program=$1
    shift
    "$@" "$work/$program" write "$work/$program.db" 20
    "$@" "$work/$program" read "$work/$program.db" 20
}
build static -static
try static "$@"
case $target in
    *-musl) ;;
    *)
        build dynamic
        export LD_LIBRARY_PATH="$dest/usr/lib" QEMU_SET_ENV="LD_LIBRARY_PATH=$dest/usr/lib"
        try dynamic "$@"
        unset LD_LIBRARY_PATH QEMU_SET_ENV
        ;;
esac
if [ "$what" = install ]; then
    printed=$("$@" "$dest/usr/bin/pmctl" --version)
    case $printed in *"$version"*) ;; *) fail "pmctl --version printed: $printed" ;; esac
fi

run_make uninstall
left=$(find "$dest" ! -type d)
[ -z "$left" ] || fail "uninstall left: $left"
echo "cross: installed for $target, built with pkg-config, ran and uninstalled"
