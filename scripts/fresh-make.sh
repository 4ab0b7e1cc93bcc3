#!/bin/sh
# Runs make for a test, with no variable but those given here: scripts/fresh-make.sh ARGUMENT...
#
# What make itself was called with, or the environment has, may name directories outside of the
# checkout, and a test must not install there.
set -eu
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES DESTDIR PREFIX BINDIR LIBDIR INCLUDEDIR DATADIR
unset MANDIR PKGCONFIGDIR
exec "${MAKE:-make}" --no-print-directory "$@"
