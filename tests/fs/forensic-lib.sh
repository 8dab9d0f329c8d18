# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash source-path=SCRIPTDIR
# forensic-lib.sh - evidence for the tests of forensic mounts, and proof that nobody changed it.
#
#   make_disk          a filesystem of its own at $disk, which keeps access times
#   remount_disk OPTS  mounts it anew
#   age                makes all access times of $store so old that any access would show
#   write_to_log DB    leaves commits in a write-ahead log beside a database: flags of all messages
#   look               reads all that the mount at $mnt shows, control files too
#   unchanged COMMAND  the command must leave nothing behind in $store
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

here=$(dirname "${BASH_SOURCE[0]}")
disk=$work/disk

make_disk() {
  truncate -s 32M "$work/image"
  mkfs.ext4 -q -O ^has_journal "$work/image"
  mkdir "$disk"
  mount -o loop,strictatime "$work/image" "$disk" 2>"$work/err" || skip "no loop devices: $(<"$work/err")"
  mounts+=("$disk")
  store=$disk/store
  export MAILSTORE=$store
}

image_is_free() {
  [ -z "$(losetup --associated "$work/image")" ]
}

# Namespaces that just ended go away a little later, and hold it until then.
remount_disk() {
  umount "$disk"
  within 10000 image_is_free || complain 'somebody holds the disk'
  mount -o "loop,$1" "$work/image" "$disk"
}

age() {
  find "$store" -not -type l -exec touch -a -d '2020-01-01' {} +
}

record() {
  python3 -B "$here/record.py" "$store"
}

write_to_log() {
  python3 -B - "$1" <<'PYTHON'
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.executescript('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0')
db.execute('UPDATE message SET flags = 8, modseq = modseq + 1000')
os._exit(0)
PYTHON
  [ -s "$1-wal" ] || complain "no log beside $1"
}

# Who may not read something is told so, which is no matter here.
look() {
  find "$mnt" -ls >"$work/listing" 2>/dev/null || true
  find "$mnt" "$mnt/.ctl" -type f ! -name wait -exec cat {} + >"$work/read" 2>/dev/null || true
  find "$mnt" -exec getfattr -d -m- {} + >"$work/attributes" 2>/dev/null || true
  find "$mnt" -name '*.eml' -exec getfattr -n user.mailfs.all {} + >>"$work/attributes" 2>/dev/null || true
}

unchanged() {
  record >"$work/before"
  "$@"
  record >"$work/after"
  diff "$work/before" "$work/after" || complain_here "the store is not as it was: $*"
}
