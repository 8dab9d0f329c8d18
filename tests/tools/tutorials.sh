#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the tutorials in docs/ tell people to type works, and shows what they say. It is typed in a mount
# namespace, where /var/lib, /var/backups, /etc/mailfs and /mnt are ours.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
setfattr -n user.test -v 1 "$work" 2>/dev/null || skip 'the filesystem keeps no user attributes'
needs_fuse
make_namespace
unset MAILSTORE
PATH=$MAILFS_SOURCE/contrib:$PATH

cd "$MAILFS_SOURCE"
for tutorial in docs/tutorial-*.md; do
  here=$work/$(basename "$tutorial" .md)
  mkdir -p "$here"/{lib,backups,mnt,home}
  inside mount --bind "$here/lib" /var/lib
  inside mount --bind "$here/mnt" /mnt
  [ ! -d /var/backups ] || inside mount --bind "$here/backups" /var/backups
  MAILFS_BACKUP_RUN=$here/run HOME=$here/home inside python3 -B tests/tools/tutorial.py ${SHOW:+--show} "$tutorial" || failures=$((failures + 1))
  inside umount -a -t fuse.mailfs || complain "$tutorial leaves something mounted and in use"
  # A daemon may take a moment to close what it has open there.
  inside umount --lazy /var/lib /mnt
  [ ! -d /var/backups ] || inside umount --lazy /var/backups
done
