#!/bin/sh
# Installs the packages in a fresh Debian and uses them: scripts/test-packages.sh
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

# The .rpm are read with rpm itself; there is no root directory of theirs here.
for package in "$packages"/*.rpm; do
    rpm --query --package --list "$package" >"$packages/list"
    [ -s "$packages/list" ] || die "$package has no files"
done
rpm --query --package --list "$packages"/pmctl-*.rpm | grep -qx /usr/bin/pmctl ||
    die 'the .rpm of pmctl has no /usr/bin/pmctl'
rpm --query --package --requires "$packages"/libpool-metadata-dev-*.rpm |
    grep -q '^libpool-metadata0 = ' || die 'the -dev .rpm does not require the library'

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
        -o -path "$root/run" \) -prune \
        -o -print | LC_ALL=C sort
}

files >"$packages/before"
cp "$packages"/*.deb examples/c/pool_day.c "$root/tmp"
run sh -c 'dpkg --install /tmp/*.deb' >"$packages/dpkg.log" 2>&1 ||
    die "dpkg could not install; see $packages/dpkg.log"

# shellcheck disable=SC2016  # expanded in the new root
run sh -ec 'cd /tmp && cc pool_day.c $(pkg-config --cflags --libs pool-metadata) -o shared &&
    cc -static pool_day.c $(pkg-config --static --cflags --libs pool-metadata) -o static &&
    ./shared /tmp/one.db && ./static /tmp/two.db' >"$packages/example.log" 2>&1 ||
    die "the C example failed; see $packages/example.log"
for command in tree check; do
    run env PM_STORE=/tmp/one.db pmctl "$command" >>"$packages/example.log" 2>&1 ||
        die "pmctl $command failed"
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
run systemd-analyze verify /lib/systemd/system/devmapper-snapshotter.service \
    /lib/systemd/system/devmapper-snapshotter.socket 2>"$packages/verify" ||
    die "systemd-analyze: $(cat "$packages/verify")"
# It exits with success for some of what it prints.
! grep -i devmapper-snapshotter "$packages/verify" || die 'systemd-analyze does not like the units'

run sh -ec 'rm -f /tmp/* && dpkg --purge pool-metadata-snapshotter pmctl libpool-metadata-dev \
    libpool-metadata0' >>"$packages/dpkg.log" 2>&1 ||
    die "dpkg could not remove; see $packages/dpkg.log"
files >"$packages/after"
diff "$packages/before" "$packages/after" || die 'the removal has left or taken these files'
echo 'test-packages: all passed'
