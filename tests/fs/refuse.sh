#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Mail cannot be changed through the mount; with -o ro the kernel refuses everything.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
message=$inbox/0000000001.eml

# What the tree and the store are like, before and after.
look() {
  (cd "$1" && find . -name '.?*' -prune -o -printf '%P %i %m %U %G %s %T@ %C@\n' | sort)
  (cd "$1" && find . -name '[0-9]*' -type f -print0 | sort -z | xargs -0 sha256sum)
}
check_refused() {
  expect_error EROFS write_to "$message"
  expect_error EROFS append_to "$message"
  expect_error EROFS dd if=/dev/zero of="$message" bs=100k count=1 conv=notrunc oflag=append
  expect_error EROFS truncate -s 0 "$message"
  expect_error EROFS truncate -s +1 "$message"
  expect_error EROFS fallocate -l 100000 "$message"
  expect_error EROFS fallocate -p -l 4096 "$message"
  expect_error EROFS dd if=/dev/zero of="$message" bs=512 count=1 conv=notrunc
  expect_error EROFS touch "$message"
  expect_error EROFS touch -d @5 "$inbox"
  expect_error EROFS chmod 600 "$message"
  expect_error EROFS chmod 700 "$inbox"
  expect_error EROFS chown 1 "$message"
  expect_error EROFS chgrp 1 "$mnt"
  expect_error EROFS rm -f "$message"
  expect_error EROFS rmdir "$inbox"
  expect_error EROFS mv "$message" "$inbox/0000000099.eml"
  expect_error EROFS mv "$inbox" "$mnt/example.com/user/joe/Other"
  expect_error EROFS ln "$message" "$inbox/0000000099.eml"
  expect_error EROFS ln -s "$message" "$inbox/0000000099.eml"
  expect_error EROFS touch "$inbox/0000000099.eml"
  expect_error EROFS write_to "$inbox/new"
  expect_error EROFS cp "$sample/01-welcome.eml" "$inbox/"
  expect_error EROFS mkdir "$inbox/New"
  expect_error EROFS mkdir "$mnt/new.example.com"
  expect_error EROFS mkfifo "$inbox/fifo"
  expect_error EROFS mknod "$inbox/device" c 1 3
  expect_error EROFS setfattr -n user.other -v x "$inbox"
}

start -f
# What is so already can be set: nothing changes.
touch -r "$message" "$message"
chmod 640 "$message"
chmod 750 "$inbox"
chown 0:0 "$message" "$inbox"
expect_error EROFS touch -a "$message"

look "$mnt" >"$work/before"
look "$store/mail" >"$work/store-before"
check_refused

# What a shared mapping wrote is not shown to others for long.
python3 - "$message" <<'PYTHON' || complain_here 'writing through a mapping'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
content = mmap.mmap(fd, 0)
content[0:6] = b'damage'
try:
    content.flush()
    print('msync did not fail')
    sys.exit(1)
except OSError:
    pass
PYTHON
within 20000 cmp "$message" "$store/mail/example.com/user/joe/INBOX/0000000001.eml"
look "$mnt" | diff "$work/before" - || complain_here 'the mount shows a change'
look "$store/mail" | diff "$work/store-before" - || complain_here 'the store was changed'
stop

# With -o ro nothing in the store is touched at all: no lock, no journal, no access time of a message.
everything() {
  (cd "$store" && find . -printf '%P %i %m %s %T@ %C@\n' -name '*.eml' -printf '%A@\n' | sort)
}
everything >"$work/everything"
start -f -o ro
expect_equal "$(findmnt -n -o OPTIONS --mountpoint "$mnt" | cut -d, -f1)" ro
look "$mnt" | diff "$work/before" - || complain_here 'another tree with -o ro'
check_refused
expect_error EROFS setfattr -n user.mailfs.flags -v '\Seen' "$message"
expect_error EROFS setfattr -x user.mailfs.flags "$message"
expect_error EROFS setfattr -n user.mailfs.cmd.check -v 1 "$inbox"
expect_error EROFS write_to "$mnt/.ctl/status"
expect_error EROFS write_to "$mnt/.ctl/nonsense"
expect_error EROFS mkdir "$mnt/.ctl/other"
expect_equal "$(status_of access)" ro
find "$mnt" -type f -exec getfattr --absolute-names -n user.mailfs.all {} + >/dev/null
stop
everything | diff "$work/everything" - || complain_here 'mounted with -o ro the store was changed'
