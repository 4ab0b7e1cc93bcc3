#!/bin/sh
# Installs the packages in a fresh Debian and uses them: scripts/test-packages.sh
#
# First the .deb, and after their removal the .rpm, with rpm itself: a small package stands in for
# what they need of a distribution that has rpm.
#
# Needs root, for the new root directory. The Debian is of the release and from the mirror that apt
# uses here; its packages are kept in target/packages-cache. `make packages` has built the packages.
set -eu
cd "$(dirname "$0")/.."
packages=$PWD/target/packages
if [ "$(id -u)" != 0 ]; then
    echo 'skipped: needs root, to make a root directory with debootstrap'
    exit 0
fi

die() {
    printf 'test-packages: %s\n' "$*" >&2
    exit 1
}

lintian --fail-on error "$packages"/*.deb ||
    die 'lintian has errors'

root=$PWD/target/packages-root
cache=$PWD/target/packages-cache
unmount() { umount "$root/proc" 2>/dev/null || true; }
trap 'unmount; rm -rf "$root"' EXIT
rm -rf "$root"
mkdir -p "$cache"
# shellcheck disable=SC2016  # apt's own placeholders
set -- $(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk '$2 !~ /-/ { print; exit }')
[ $# = 2 ] || die 'apt-get knows no mirror; run: apt-get update'
debootstrap --variant=minbase --cache-dir="$cache" \
    --include=gcc,libc6-dev,pkg-config,man-db,systemd,dmsetup,e2fsprogs,bash-completion \
    "$2" "$root" "$1" >"$packages/debootstrap.log" ||
    die "debootstrap failed; see $packages/debootstrap.log"
mount -t proc proc "$root/proc"
run() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"; }

# files: every file of the root, without what dpkg, ldconfig and man keep about packages.
files() {
    find "$root" -xdev \( -path "$root/proc" -o -path "$root/var/lib/dpkg" \
        -o -path "$root/var/cache" -o -path "$root/var/log" -o -path "$root/tmp" \
        -o -path "$root/var/lib/rpm" -o -path "$root/run" \) -prune \
        -o -print | LC_ALL=C sort
}

files >"$packages/before"

# use LOG UNITS: builds programs with the installed library, runs the others, and reads the manual.
# What they write goes to the log. UNITS is the directory of the units.
use() {
    # shellcheck disable=SC2016  # expanded in the new root
    run sh -ec 'cd /tmp && cc pool_day.c $(pkg-config --cflags --libs pool-metadata) -o shared &&
        cc -static pool_day.c $(pkg-config --static --cflags --libs pool-metadata) -o static &&
        ./shared /tmp/one.db && ./static /tmp/two.db' >"$1" 2>&1 ||
        die "the C example failed; see $1"
    for command in tree check; do
        run env PM_STORE=/tmp/one.db pmctl "$command" >>"$1" 2>&1 || die "pmctl $command failed"
    done
    for page in '1 pmctl' '3 pm_open' '7 pool_metadata'; do
        # shellcheck disable=SC2086  # the section and the name
        run man -P cat $page >"$packages/page" || die "man $page failed"
        [ "$(wc -l <"$packages/page")" -gt 20 ] || die "man $page shows nothing"
    done
    run bash -ec '. /usr/share/bash-completion/bash_completion
        . /usr/share/bash-completion/completions/pmctl && complete -p pmctl' >/dev/null ||
        die 'no completions of pmctl'
    run devmapper-snapshotter -version >/dev/null
    run devmapper-snapshotter -check
    run systemd-analyze verify "$2/devmapper-snapshotter.service" \
        "$2/devmapper-snapshotter.socket" 2>"$packages/verify" ||
        die "systemd-analyze: $(cat "$packages/verify")"
    # It exits with success for some of what it prints.
    ! grep -i devmapper-snapshotter "$packages/verify" ||
        die 'systemd-analyze does not like the units'
}

# same: the root has the files that it had before the packages.
same() {
    run sh -ec 'rm -f /tmp/*'
    files >"$packages/after"
    diff "$packages/before" "$packages/after" || die 'the removal has left or taken these files'
}

cp "$packages"/*.deb examples/c/pool_day.c "$root/tmp"
run sh -c 'dpkg --install /tmp/*.deb' >"$packages/dpkg.log" 2>&1 ||
    die "dpkg could not install; see $packages/dpkg.log"
use "$packages/example.log" /lib/systemd/system
run sh -ec 'dpkg --purge pool-metadata-snapshotter pmctl libpool-metadata-dev libpool-metadata0' \
    >>"$packages/dpkg.log" 2>&1 || die "dpkg could not remove; see $packages/dpkg.log"
same

# by_rpm ARGUMENT...: rpm for the new root. Debian's asks for the option, as it has another tool.
by_rpm() {
    rpm --force-debian --root "$root" --dbpath /var/lib/rpm "$@" >>"$packages/rpm.log" 2>&1
}

rm -f "$packages/rpm.log"
# What a distribution with rpm has.
run mkdir -p /usr/lib64/pkgconfig /usr/share/zsh/site-functions \
    /usr/share/fish/vendor_completions.d
files >"$packages/before"
# The version of the C library is far beyond that of any.
cat >"$packages/distribution.yaml" <<'END'
{name: distribution, arch: noarch, platform: linux, version: "1", maintainer: none,
 description: none, provides: [glibc = 99, glibc-devel, libgcc, device-mapper, e2fsprogs]}
END
target/tools/bin/nfpm package --packager rpm --config "$packages/distribution.yaml" \
    --target "$packages/distribution.rpm" >/dev/null
! by_rpm --install "$packages"/libpool-metadata-dev-*.rpm ||
    die 'the -dev .rpm does not need the library'
! by_rpm --install "$packages"/libpool-metadata0-*.rpm ||
    die 'the .rpm of the library does not need a C library'
by_rpm --install "$packages/distribution.rpm" ||
    die "rpm could not install a package; see $packages/rpm.log"
by_rpm --install "$packages"/*-1.*.rpm || die "rpm could not install; see $packages/rpm.log"
by_rpm --verify pool-metadata-snapshotter pmctl libpool-metadata-dev libpool-metadata0 ||
    die "rpm does not find what it has installed; see $packages/rpm.log"
cp examples/c/pool_day.c "$root/tmp"
# Debian looks for libraries elsewhere.
run() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        PKG_CONFIG_PATH=/usr/lib64/pkgconfig LD_LIBRARY_PATH=/usr/lib64 "$@"
}
use "$packages/example-rpm.log" /usr/lib/systemd/system
by_rpm --erase pool-metadata-snapshotter pmctl libpool-metadata-dev libpool-metadata0 ||
    die "rpm could not remove; see $packages/rpm.log"
rm "$packages/distribution.rpm"
same
echo 'test-packages: all passed'
