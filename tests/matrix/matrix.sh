#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What becomes of a store of which one file is damaged: see matrix.py. All is mounted in a namespace of its own,
# where ordinary users can mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/../tools/lib.sh"

needs_fuse
make_namespace
mkdir "$work/dev"
inside mount -t tmpfs tmpfs "$work/dev"
inside mknod -m 666 "$work/dev/fuse" c 10 229 || skip 'no device nodes here'
inside mount --bind "$work/dev/fuse" /dev/fuse
chmod 711 "$work"
inside python3 -B "$MAILFS_SOURCE/tests/matrix/matrix.py" "$work" "$@"
