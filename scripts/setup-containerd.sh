# The steps of setup.sh for what runs beside or in containerd: the proxy, the packages, and the
# guests of e2e/. setup.sh sources this file, which uses its functions.
# shellcheck shell=sh disable=SC2154

# The kernel of the guests: Debian's for virtual machines, unpacked and not installed.
fetch_kernel() {
    kernel=target/e2e/kernel
    [ ! -e "$kernel/unpacked" ] || return 0
    have apt-get || die 'the kernel of the guests comes as a package of Debian, and there is no
       apt-get here'
    package=$(kernel_package)
    if [ -z "$package" ] && [ "${SETUP:-1}" != 0 ]; then
        apt_get update || true
        package=$(kernel_package)
    fi
    [ -n "$package" ] || die 'apt knows no linux-image-cloud-amd64. Run
           sudo apt-get update
       and then this again.'
    announce "$package into $kernel (110 MB), unpacked only" \
        "mkdir -p $kernel && cd $kernel && apt-get download $package &&
               dpkg-deb -x ./*.deb . && rm ./*.deb && touch unpacked"
    rm -rf "$kernel"
    mkdir -p "$kernel"
    (cd "$kernel" && retry apt-get -qq download "$package" 2>/dev/null) ||
        die "apt-get could not download $package"
    dpkg-deb -x "$kernel"/*.deb "$kernel"
    rm "$kernel"/*.deb
    find "$kernel" -name '*.ko.xz' -exec xz -d {} +
    touch "$kernel/unpacked"
}

kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p'
}

setup_proxy() {
    setup_build
    need python3 python3
    need_go
    install_missing
    check_go
}

setup_packages() {
    need strip binutils
    need dpkg-deb dpkg
    need debootstrap debootstrap
    need lintian lintian
    need rpm rpm
    setup_proxy
    nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@$NFPM_VERSION
    if ! "$go" version -m "$tools/bin/nfpm" 2>/dev/null |
        awk '$1 == "mod" { print $3 }' | grep -qxF "$NFPM_VERSION"; then
        announce "nfpm $NFPM_VERSION into target/tools" "GOBIN=$tools/bin go install $nfpm"
        retry env GOBIN="$tools/bin" "$go" install "$nfpm" || die "go could not build $nfpm"
    fi
}

setup_e2e() {
    setup_build
    [ "$(uname -m)" = x86_64 ] || die 'the guests of e2e/ are for x86-64 only'
    need qemu-system-x86_64 qemu-system-x86
    need dash dash
    # Root's tools, which may not be on the PATH.
    PATH=$PATH:/usr/sbin:/sbin
    need busybox busybox-static
    need mount mount
    need losetup mount
    need blkdiscard util-linux
    need dmsetup dmsetup
    need thin_check thin-provisioning-tools
    need mkfs.ext4 e2fsprogs
    need mkfs.xfs xfsprogs
    need mkfs.btrfs btrfs-progs
    need runc runc
    need xz xz-utils
    install_missing
    setup_proxy
    fetch_kernel
}
