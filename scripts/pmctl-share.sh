#!/bin/sh
# Writes what pmctl prints about itself into a directory, for `make install`: the manual pages and
# the completions: scripts/pmctl-share.sh PMCTL DIRECTORY
set -eu
pmctl=$1
directory=$2
rm -rf "$directory"
mkdir -p "$directory/man1"
"$pmctl" man "$directory/man1"
"$pmctl" completions bash >"$directory/pmctl.bash"
"$pmctl" completions zsh >"$directory/_pmctl"
"$pmctl" completions fish >"$directory/pmctl.fish"
