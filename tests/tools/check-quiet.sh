#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check changes nothing: no name, no byte, no attribute, no time, not even an atime; whatever state the
# store is in, and whether root looks or the owner.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

# Where the filesystem is ours to choose, one that notes every access.
home=$work
if [ "$(id -u)" -eq 0 ] && truncate -s 256M "$work/disk" && mkfs.ext4 -q "$work/disk" &&
  mkdir "$work/fs" && mount -o loop,strictatime "$work/disk" "$work/fs" 2>/dev/null; then
  mounts+=("$work/fs")
  home=$work/fs
fi
setfattr -n user.test -v 1 "$home" 2>/dev/null || skip 'the filesystem keeps no user attributes'
chmod 755 "$work"

# Everything that is to know of the tree, read without leaving a trace.
snapshot() {
  python3 -B - "$1" <<'PYTHON'
import hashlib, os, stat, sys

def quiet(path, flags):
    return os.open(path, os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW | flags)

def look(path):
    st = os.lstat(path)
    known = [path, st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size, st.st_blocks,
             st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns]
    known += [(name, os.getxattr(path, name)) for name in sorted(os.listxattr(path))]
    if stat.S_ISREG(st.st_mode):
        with os.fdopen(quiet(path, 0), 'rb') as file:
            known.append(hashlib.sha256(file.read()).hexdigest())
    print(known)
    if stat.S_ISDIR(st.st_mode):
        fd = quiet(path, os.O_DIRECTORY)
        for name in sorted(os.listdir(fd)):
            look(os.path.join(path, name))
        os.close(fd)

look(sys.argv[1])
PYTHON
}

# With old atimes even a filesystem that seldom notes an access notes the next one.
age() {
  find "$1" -depth -exec touch -a -d @86400 {} +
}

# expect_quiet WHAT STATUS COMMAND...
expect_quiet() {
  local what=$1 expected=$2
  shift 2
  age "$MAILSTORE"
  snapshot "$MAILSTORE" >"$work/before"
  status=0
  out=$("$@" 2>"$work/err") || status=$?
  err=$(<"$work/err")
  snapshot "$MAILSTORE" >"$work/after"
  cmp -s "$work/before" "$work/after" ||
    complain "$what: $* changed $(diff "$work/before" "$work/after" | head -4)"
  expect_status "$expected"
}

# The store $MAILSTORE, with mail in it.
make_store() {
  rm -rf "$MAILSTORE"
  mailstore -q init
  mailstore -q import --format eml "$sample" joe@example.com
  mailstore -q flag joe@example.com/INBOX 1 '+\Seen' '+Work'
  cp -a "$MAILSTORE/mail/example.com/user/joe/INBOX/0000000003.eml" "$work/stray"
}

index() {
  echo "$MAILSTORE/index/example.com/user/joe.sqlite3"
}

damage_nothing() { :; }
damage_list_missing() { rm "$MAILSTORE/mailboxes.sqlite3"; }
damage_list_damaged() { dd if=/dev/urandom of="$MAILSTORE/mailboxes.sqlite3" bs=1k seek=4 count=4 conv=notrunc status=none; }
damage_list_interrupted() { interrupt "$MAILSTORE/mailboxes.sqlite3"; }
damage_index_missing() { rm "$(index)"; }
damage_index_empty() { : >"$(index)"; }
damage_index_damaged() { dd if=/dev/urandom of="$(index)" bs=1k seek=8 count=16 conv=notrunc status=none; }
damage_index_interrupted() { interrupt "$(index)"; }
damage_indexes_gone() { rm -r "$MAILSTORE/index"; }
damage_messages() {
  local inbox=$MAILSTORE/mail/example.com/user/joe/INBOX
  rm "$inbox/0000000001.eml"
  printf x >>"$inbox/0000000002.eml"
  cp "$work/stray" "$inbox/0000000099.eml"
  setfattr -x user.mailfs.state "$inbox/0000000003.eml"
  setfattr -x user.mailfs.mailbox "$inbox"
  mkdir -p "$MAILSTORE/mail/other.example/user/ann/INBOX" "$MAILSTORE/tmp/1.dead"
  echo left >"$MAILSTORE/tmp/1.dead/0"
}

# look_as USER DAMAGE...: each damage, looked at by root or by the store's owner, in each way.
look_as() {
  local name clean as=()
  [ "$1" == root ] || as=(as_nobody)
  for name in "${@:2}"; do
    clean=1
    [ "$name" != nothing ] || clean=0
    make_store
    "damage_$name"
    [ "$1" == root ] || chown -R nobody:nogroup "$MAILSTORE"
    expect_quiet "$name" "$clean" "${as[@]}" mailstore check
    expect_quiet "$name" "$clean" "${as[@]}" mailstore check --full
    expect_quiet "$name" "$clean" "${as[@]}" mailstore --json check --full -r example.com
    case $name in
    *_interrupted) [[ $out == *'"hot-journal"'* ]] || complain "$name is not called so" ;;
    esac
  done
}

export MAILSTORE=$home/store
look_as root nothing list_missing list_damaged list_interrupted index_missing index_empty index_damaged \
  index_interrupted indexes_gone messages
[ "$(id -u)" -ne 0 ] || look_as nobody nothing list_missing index_interrupted messages
