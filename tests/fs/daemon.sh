#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Going to the background, ending, and everything that keeps the program from mounting.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store

mount_in_background() {
  status=0
  timeout 60 mailfs "$@" >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}
refused() {
  local why=$1
  shift
  mount_in_background "$@"
  expect_status 1
  expect_no_out
  expect_err "$why"
  [[ $err == 'mailfs: '* && $(wc -l <"$work/err") -eq 1 ]] || complain_here "not one line: $err"
  ! mountpoint -q "$mnt" || complain_here 'mounted all the same'
}

# What cannot be mounted is said on the caller's stderr, in one line.
refused 'No such file' "$store" "$work/missing"
refused 'Not a directory' "$store" "$store/mailfs.conf"
refused 'No such file' "$work/missing" "$mnt"
mkdir "$work/empty" "$work/newer"
refused "$work/empty" "$work/empty" "$mnt"
cp -a "$store/." "$work/newer"
sed -i 's/^\(version *= *\).*/\199/; s/^\(format *= *\).*/\199/' "$work/newer/mailfs.conf"
refused '99' "$work/newer" "$mnt"
refused 'auto_unmount' -o auto_unmount "$store" "$mnt"
refused "unknown option '-x'" -x "$store" "$mnt"
refused 'nonsense' -o nonsense "$store" "$mnt"
refused 'nonsense' -o ctl=nonsense "$store" "$mnt"
refused 'ctl=nonsense: no such value' -o ctl=nonsense "$store" "$mnt"
refused 'setuid: it takes a value' -o setuid "$store" "$mnt"
refused 'verify=: no such value' -o verify= "$store" "$mnt"
# A directory with something in it, unless one insists; of a fresh filesystem nobody would miss a thing.
mkdir "$mnt/lost+found" "$work/full"
touch "$work/full/file"
refused 'not empty' "$store" "$work/full"
for mountpoint in "-o nonempty $work/full" "$mnt"; do
  # shellcheck disable=SC2086
  mount_in_background "$store" $mountpoint
  expect_status 0
  umount "${mountpoint##* }"
done
rmdir "$mnt/lost+found"
refused 'io_uring: needs ro' -o io_uring "$store" "$mnt"
mount_in_background -o ro,io_uring "$store" "$mnt"
if [ "$status" -eq 0 ]; then
  grep -q '^mailfs ' "$mnt/.ctl/version" || complain_here 'io_uring: no answer'
  umount "$mnt"
else
  expect_err 'does not have it, 3.18 does'
fi
refused 'ctldir' -o ctldir=a/b "$store" "$mnt"
refused 'fmode' -o fmode=7777 "$store" "$mnt"
refused 'STORE and MOUNTPOINT' "$store"
refused 'STORE and MOUNTPOINT' "$store" "$mnt" more
refused 'hide the store' "$store" "$store"
refused 'hide the store' "$store" "$work"
refused 'hide the store' "$store" "$store/mail"
chmod 700 "$work"
if id nobody >/dev/null 2>&1; then
  chmod 711 "$work"
  mkdir -m 777 "$work/theirs"
  status=0
  as_nobody "$(command -v mailfs)" "$store" "$work/theirs" 2>"$work/err" || status=$?
  err=$(<"$work/err")
  expect_status 1
  expect_err 'Permission denied'
fi

mount_in_background -h
expect_status 0
expect_out 'usage: mailfs'
mount_in_background -V
expect_status 0
expect_out 'mailfs '

# In the background the mount is up when the program returns, and its parent's terminal is let go.
mount_in_background "$store" "$mnt"
expect_status 0
expect_no_out
expect_no_err
expect test -e "$inbox/0000000001.eml"
pid=$(status_of pid)
expect_equal "$(readlink "/proc/$pid/fd/0" "/proc/$pid/fd/1" "/proc/$pid/fd/2" | sort -u)" /dev/null
expect_equal "$(readlink "/proc/$pid/cwd")" /
expect_equal "$(ps -o tty= -p "$pid" | tr -d ' ')" '?'
expect_equal "$(df --output=fstype,source "$mnt" | tail -n 1)" "fuse.mailfs $store"
status=0
timeout 60 mailfs "$store" "$mnt" 2>"$work/err" || status=$?
err=$(<"$work/err")
expect_status 1
expect_err 'in use'
expect umount "$mnt"

# So it does where the caller has closed its descriptors.
gone() {
  ! kill -0 "$1" 2>/dev/null
}
within 20000 gone "$pid"
for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
  status=0
  eval "timeout 60 mailfs '$store' '$mnt' $closed" || status=$?
  expect_status 0
  expect cmp "$sample/01-welcome.eml" "$inbox/0000000001.eml"
  pid=$(status_of pid)
  umount "$mnt"
  within 20000 gone "$pid"
done
mount_in_background "$store" "$mnt"
pid=$(status_of pid)

# Told to end, a daemon leaves a dead mount: an empty directory would make backups delete their copy.
kill -HUP "$pid"
expect test -e "$inbox/0000000001.eml"
kill -TERM "$pid"
within 20000 gone "$pid"
expect_error ENOTCONN ls "$mnt"
mkdir -p "$work/backup/example.com"
! rsync -a --delete "$mnt/" "$work/backup/" 2>/dev/null || complain_here 'rsync noticed nothing'
expect test -d "$work/backup/example.com"
status=0
mailfs "$store" "$mnt" 2>"$work/err" || status=$?
err=$(<"$work/err")
expect_status 1
expect_err 'unmount it first'
umount "$mnt"

# Unmounted, it ends; killed, it can be mounted again, and the store is whole.
mount_in_background "$store" "$mnt"
pid=$(status_of pid)
umount "$mnt"
within 20000 gone "$pid"
for _ in 1 2 3; do
  mount_in_background "$store" "$mnt"
  expect_status 0
  pid=$(status_of pid)
  find "$mnt" -type f -exec cat {} + >/dev/null
  kill -KILL "$pid"
  within 20000 gone "$pid"
  expect_error ENOTCONN cat "$inbox/0000000001.eml"
  umount "$mnt"
done
mount_in_background "$store" "$mnt"
expect cmp "$sample/01-welcome.eml" "$inbox/0000000001.eml"
umount "$mnt"

# In the foreground it unmounts when told to end.
for signal in TERM INT; do
  start -f
  expect test -e "$inbox/0000000001.eml"
  kill "-$signal" "$daemon"
  end_daemon 0
  ! mountpoint -q "$mnt" || complain_here "still mounted after SIG$signal"
done

# Other users, if they are let in, as owner and modes allow.
if id nobody >/dev/null 2>&1; then
  chmod 711 "$work"
  start -f -o allow_other
  expect_error EACCES as_nobody cat "$inbox/0000000001.eml"
  stop
  start -f -o "allow_other,uid=$(id -u nobody)"
  expect as_nobody cat "$inbox/0000000001.eml" >/dev/null
  expect_error EROFS as_nobody touch "$inbox/0000000001.eml"
  stop
  start -f
  expect_error EACCES as_nobody ls "$mnt"
  stop
fi

# Options as fstab has them, and a store with a comma in its name.
cp -a "$store" "$work/a,b c"
store="$work/a,b c" start -f -o rw,nofail,_netdev,noatime
expect_equal "$(findmnt -n -o SOURCE --mountpoint "$mnt")" "$work/a,b c"
stop
