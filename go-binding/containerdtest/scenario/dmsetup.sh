#!/bin/sh
# A fake dmsetup: it keeps its state in the directory $DM and writes every call into $DM/log. A call
# that matches the pattern in $DM/fail fails. A change of the pool's own metadata is also added to
# the file $SAID, if that is set, as one line. Called as blkdiscard, it only adds such a line.
set -eu

log=$DM/log
printf '%s\n' "$*" >>"$log"

fail() {
    printf 'device-mapper: ioctl on device failed: %s\nCommand failed.\n' "$1" >&2
    exit 1
}

if [ -e "$DM/fail" ] && printf '%s\n' "$*" | grep -q -f "$DM/fail"; then
    fail 'Input/output error'
fi

said() {
    [ -z "${SAID-}" ] || printf 'pool %s\n' "$*" >>"$SAID"
}

if [ "${0##*/}" = blkdiscard ]; then
    [ "$1" = --version ] || said discard "${1##*/}"
    exit
fi

# The last argument is the device or the table, the device with or without its directory.
last=''
for last in "$@"; do :; done
device=$DM/devices/${last##*/}

message() {
    # shellcheck disable=SC2086  # one word for the command, then the ids
    set -- $1
    case $1 in
    create_thin) [ ! -e "$DM/ids/$2" ] || fail 'File exists' ;;
    create_snap)
        [ ! -e "$DM/ids/$2" ] || fail 'File exists'
        [ -e "$DM/ids/$3" ] || fail 'No data available'
        ;;
    delete)
        [ -e "$DM/ids/$2" ] || fail 'No data available'
        rm "$DM/ids/$2"
        said "$@"
        return
        ;;
    esac
    : >"$DM/ids/$2"
    said "$@"
}

case $1 in
version) echo 'Library version: none' ;;
info)
    if [ ! -e "$device" ]; then
        printf 'Device %s not found\nCommand failed.\n' "$last" >&2
        exit 1
    fi
    printf '%s dm-0 L--w 253 0 0 1 0\n' "${last##*/}"
    ;;
create)
    [ ! -e "$DM/devices/$2" ] || fail 'Device or resource busy'
    : >"$DM/devices/$2"
    ;;
remove) rm "$device" ;;
suspend | resume) [ -e "$device" ] || fail 'No such device or address' ;;
message) message "$last" ;;
status) echo '0 204800 thin 17280 204799' ;;
*) fail 'Invalid argument' ;;
esac
