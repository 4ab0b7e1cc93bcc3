#!/bin/sh
# Stops the snapshotter before its removal, and not before an upgrade: containers need it, and
# `systemctl restart` at a time of the operator's choice takes the new one. Debian says "remove",
# and rpm "0".
set -e
case ${1:-} in
    remove | 0)
        if [ -d /run/systemd/system ]; then
            systemctl disable --now devmapper-snapshotter.socket \
                devmapper-snapshotter.service || true
        fi
        ;;
esac
