#!/bin/sh
# Installs into a temporary root, then builds and runs programs with nothing but pkg-config, as a
# user does, and uninstalls: install.sh
set -eu
cd "$(dirname "$0")/../.."
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Nothing may be installed where the caller's variables say.
export BINDIR="$work/caller/bin" LIBDIR="$work/caller/lib" MANDIR="$work/caller/man"
export DATADIR="$work/caller/share" INCLUDEDIR="$work/caller/include" PREFIX="$work/caller"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

# run_make TARGET VARIABLE...: quiet unless it fails.
run_make() {
    scripts/fresh-make.sh "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "make $* failed"
    }
}

files_under() {
    (cd "$1" && find . \( -type f -o -type l \) | sed 's|^\./||' | LC_ALL=C sort)
}

# A packager's installation: everything is under DESTDIR, and no file contains that path.
test_destdir() {
    dest=$work/dest
    set -- DESTDIR="$dest" PREFIX=/usr LIBDIR=/usr/lib/multi/arch MANDIR=/usr/man
    run_make install "$@"
    {
        printf 'usr/%s\n' include/pool_metadata.h lib/multi/arch/libpool_metadata.a \
            lib/multi/arch/libpool_metadata.so lib/multi/arch/libpool_metadata.so.0 \
            "lib/multi/arch/libpool_metadata.so.$version" \
            lib/multi/arch/pkgconfig/pool-metadata.pc man/man7/pool_metadata.7 bin/pmctl \
            share/bash-completion/completions/pmctl share/zsh/site-functions/_pmctl \
            share/fish/vendor_completions.d/pmctl.fish
        find "${CARGO_TARGET_DIR:-target}/pmctl/share" -name '*.1' |
            sed 's|^.*/|usr/man/man1/|'
        find "${CARGO_TARGET_DIR:-target}/man" -name '*.3' | sed 's|^.*/|usr/man/man3/|'
    } | LC_ALL=C sort >"$work/expected"
    files_under "$dest" >"$work/installed"
    diff -u "$work/expected" "$work/installed" >&2 || fail 'unexpected files were installed'
    while read -r function; do
        [ -s "$dest/usr/man/man3/$function.3" ] || fail "there is no manual page for $function"
    done <scripts/symbols.txt
    "$dest/usr/bin/pmctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' \
        >"$work/commands"
    [ "$(wc -l <"$work/commands")" -gt 10 ] || fail 'pmctl --help lists no commands'
    while read -r command; do
        grep -q "$command" "$dest/usr/share/bash-completion/completions/pmctl" ||
            fail "bash does not complete pmctl $command"
        [ "$command" = help ] || [ -s "$dest/usr/man/man1/pmctl-$command.1" ] ||
            fail "there is no manual page for pmctl $command"
    done <"$work/commands"
    if grep -rIl -F "$dest" "$dest" >&2; then fail 'these files name DESTDIR'; fi
    linked=$(readlink "$dest/usr/lib/multi/arch/libpool_metadata.so.0")
    [ "$linked" = "libpool_metadata.so.$version" ] ||
        fail 'libpool_metadata.so.0 does not point at the library by a relative name'
    export PKG_CONFIG_PATH="$dest/usr/lib/multi/arch/pkgconfig"
    # Some releases of pkg-config print a space at the end.
    flags=$(PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
        pkg-config --cflags --libs pool-metadata)
    [ "${flags% }" = '-I/usr/include -L/usr/lib/multi/arch -lpool_metadata' ] ||
        fail "pkg-config prints other directories: $flags"
    run_make uninstall "$@"
    [ -z "$(files_under "$dest")" ] || fail "uninstall left: $(files_under "$dest")"
}

# expect_hello COMMAND...: the example's first run creates the store, its second opens it.
expect_hello() {
    rm -f "$work"/hello.db*
    for run in 1 2; do
        out=$("$@" "$work/hello.db") || fail "run $run of $* failed"
        [ "$out" = 'hello is device 1, Created' ] || fail "run $run of $* printed: $out"
    done
}

# build OUTPUT WORD...: the example, from a directory that has nothing else of this project.
build() {
    output=$1
    shift
    (cd "$work/user" && "$@" -o "$output" 2>"$work/log") || {
        cat "$work/log" >&2
        fail "did not build: $*"
    }
}

test_programs() {
    prefix=$work/inst
    run_make install PREFIX="$prefix"
    export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
    [ "$(pkg-config --modversion pool-metadata)" = "$version" ] ||
        fail 'pkg-config names another version'
    mkdir "$work/user"
    cp examples/c-install/hello_pool.c "$here/tests/install/own_lmdb.c" "$work/user"
    cp examples/c-install/hello_pool.c "$work/user/hello_pool.cc"
    flags=$(pkg-config --cflags --libs pool-metadata)
    static_flags=$(pkg-config --static --cflags --libs pool-metadata)
    # This library from its archive, the rest shared: for hosts that do not have this library.
    mixed_flags=$(printf '%s' "$static_flags" | sed 's/-lpool_metadata/-l:libpool_metadata.a/')
    cc=${CC:-cc}

    # shellcheck disable=SC2086  # the flags are words
    {
        build dynamic $cc hello_pool.c $flags
        build dynamic_cxx g++ -std=c++17 hello_pool.cc $flags
        build static $cc -static hello_pool.c $static_flags
        build mixed $cc hello_pool.c $mixed_flags
        build own $cc -static own_lmdb.c $static_flags
        build own_mixed $cc own_lmdb.c $mixed_flags
    }
    for program in dynamic dynamic_cxx; do
        readelf -d "$work/user/$program" | grep -q 'NEEDED.*\[libpool_metadata\.so\.0\]' ||
            fail "$program does not record libpool_metadata.so.0"
        expect_hello env LD_LIBRARY_PATH="$prefix/lib" "$work/user/$program"
    done
    tests/install/readme.sh "$prefix"

    # The static ones must run with the installation out of reach.
    mv "$prefix" "$prefix.gone"
    expect_hello "$work/user/static"
    expect_hello "$work/user/mixed"
    "$work/user/own" "$work/own.db" || fail 'a static program with LMDB symbols of its own'
    rm -f "$work"/own.db*
    "$work/user/own_mixed" "$work/own.db" || fail 'a program with LMDB symbols of its own'
    mv "$prefix.gone" "$prefix"

    # The .pc file follows a prefix given at use, as cross builds do.
    pkg-config --define-variable=prefix=/elsewhere --cflags --libs pool-metadata |
        grep -q -- '-L/elsewhere/lib ' ||
        fail 'the directories in pool-metadata.pc do not follow its prefix'
    run_make uninstall PREFIX="$prefix"
    [ -z "$(files_under "$prefix")" ] || fail "uninstall left: $(files_under "$prefix")"
}

# The libraries that rustc asks for must be in LIBS_PRIVATE, unless every C compiler adds them.
test_private_libs() {
    wanted=$(: | rustc --crate-type staticlib --print native-static-libs -o "$work/empty.a" - 2>&1 |
        sed -n 's/.*native-static-libs: //p')
    [ -n "$wanted" ] || fail 'rustc did not say which libraries an archive needs'
    given=$(sed -n 's/^LIBS_PRIVATE := //p' Makefile)
    for lib in $wanted; do
        case " $given -lgcc_s -lc " in
            *" $lib "*) ;;
            *) fail "rustc wants $lib, which LIBS_PRIVATE in the Makefile lacks" ;;
        esac
    done
}

test_destdir
test_programs
test_private_libs
[ ! -e "$work/caller" ] || fail "installed elsewhere: $(files_under "$work/caller")"
echo 'install: installed, built with pkg-config, ran and uninstalled'
