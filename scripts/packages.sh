#!/bin/sh
# Builds the packages into target/packages, as .deb and .rpm: scripts/packages.sh
#
# The Makefile has built the library, pmctl and the proxy. packaging/ says what is in each package;
# here the files are staged, stripped, and described. MAINTAINER is the name and address in them.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/target/packages
rm -rf "$out"
mkdir -p "$out"

VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
MAINTAINER=${MAINTAINER:-The authors of pool-metadata <pool-metadata@example.org>}
SNAPSHOTTER=$PWD/go-binding/cmd/devmapper-snapshotter
export VERSION MAINTAINER SNAPSHOTTER

# stage PREFIX-OF-LIBRARIES: fills $STAGE from what `make install` installs.
stage() {
    root=$out/root
    rm -rf "$root" "$STAGE"
    mkdir -p "$STAGE/lib" "$STAGE/bin" "$STAGE/completions" "$STAGE/doc"
    scripts/fresh-make.sh install DESTDIR="$root" PREFIX=/usr LIBDIR="$1" >/dev/null
    cp "$root$1/libpool_metadata.so.$VERSION" "$root$1/libpool_metadata.a" "$STAGE/lib"
    cp -r "$root$1/pkgconfig" "$STAGE/lib"
    cp "$root/usr/bin/pmctl" target/proxy/devmapper-snapshotter "$STAGE/bin"
    cp -r "$root/usr/include" "$STAGE"
    for section in 1 3 7; do
        mkdir "$STAGE/man$section"
        cp "$root/usr/share/man/man$section"/* "$STAGE/man$section"
        # Pages that are one line with another's name are packed as well: man follows both.
        gzip -9n "$STAGE/man$section"/*
    done
    for dir in bash-completion zsh fish; do
        [ ! -d "$root/usr/share/$dir" ] || cp -r "$root/usr/share/$dir" "$STAGE/completions"
    done
    strip --strip-unneeded "$STAGE/lib/libpool_metadata.so.$VERSION" "$STAGE/bin/pmctl"
    strip --strip-debug "$STAGE/lib/libpool_metadata.a"
    cp packaging/copyright "$STAGE/doc"
    {
        printf 'pool-metadata (%s-1) unstable; urgency=medium\n\n' "$VERSION"
        printf '  * See CHANGELOG.md of the source.\n\n'
        printf ' -- %s  %s\n' "$MAINTAINER" "$(git log -1 --format=%cD 2>/dev/null || date -R)"
    } | gzip -9n >"$STAGE/doc/changelog.Debian.gz"
    find "$STAGE" -type d -exec chmod 755 {} +
    find "$STAGE" -type f -exec chmod 644 {} +
    chmod 755 "$STAGE"/bin/*
    rm -rf "$root"
}

# The newest release of the C library that a program or library asks for.
glibc() { objdump -T "$@" | sed -n 's/.*(\?GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1; }

# package FORMAT LIBDIR UNITDIR ARCHITECTURE
package() {
    STAGE=$out/stage LIBDIR=$2 UNITDIR=$3 ARCH=$4
    export STAGE LIBDIR UNITDIR ARCH
    stage "$2"
    GLIBC=$(glibc "$STAGE/lib/libpool_metadata.so.$VERSION" "$STAGE/bin/pmctl")
    export GLIBC
    for config in packaging/*.yaml; do
        (cd packaging && ../target/tools/bin/nfpm package --packager "$1" \
            --config "${config#packaging/}" --target "$out" >/dev/null)
    done
    rm -rf "$STAGE"
}

# add_shlibs DEB: adds the control file from which dpkg-shlibdeps takes the dependency of a program
# that is linked with the library. nfpm has no setting for it.
add_shlibs() {
    dpkg-deb --raw-extract "$1" "$out/deb"
    printf 'libpool_metadata 0 libpool-metadata0 (>= %s)\n' "$VERSION" >"$out/deb/DEBIAN/shlibs"
    chmod 644 "$out/deb/DEBIAN/shlibs"
    # nfpm writes an empty list of configuration files, and dpkg-deb refuses that.
    grep -q . "$out/deb/DEBIAN/conffiles" || rm -f "$out/deb/DEBIAN/conffiles"
    dpkg-deb --root-owner-group --build "$out/deb" "$1" >/dev/null
    rm -rf "$out/deb"
}

architecture=$(uname -m)
case $architecture in
    x86_64) debian=amd64 ;;
    aarch64) debian=arm64 ;;
    *) debian=$architecture ;;
esac
multiarch=$(${CC:-cc} -print-multiarch)
package deb "/usr/lib/${multiarch:-$architecture-linux-gnu}" /lib/systemd/system "$debian"
package rpm /usr/lib64 /usr/lib/systemd/system "$architecture"
add_shlibs "$out/libpool-metadata0_$VERSION-1_$debian.deb"
ls "$out"
