#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mount.mailfs: called by hand, and by mount(8) with lines of fstab, in a mount namespace.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
make_namespace

make_sample_store
helper=$MAILFS_BUILD/fs/mount.mailfs
chmod 755 "$work"

# call STATUS COMMAND...: leaves $out and $err.
call() {
  status=0
  inside "${@:2}" >"$work/out" 2>"$work/err" </dev/null || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  [ "$status" -eq "$1" ] || complain "${*:2}: exit status $status, not $1"
}

is_mounted() {
  inside mountpoint -q "$mnt"
}

# Options of the mount, as the kernel has them.
mount_options() {
  inside findmnt -n -o OPTIONS --mountpoint "$mnt"
}

# ---- by hand: wrong use is 1, no mount is 32 ----
call 1 "$helper"
expect_err 'usage: mount.mailfs'
call 1 "$helper" "$store"
call 1 "$helper" "$store" "$mnt" more
call 1 "$helper" "$store" "$mnt" -x
call 0 "$helper" -h
expect_out 'usage: mount.mailfs'
call 0 "$helper" -V
expect_out 'mount.mailfs '
call 32 "$helper" "$work/none" "$mnt"
expect_err "open store"
call 32 "$helper" "$store" "$work/none"
call 32 "$helper" "$store" "$mnt" -o rw,frobnicate
expect_err frobnicate
call 32 "$helper" "$store" "$mnt" -o ctl=frobnicate
call 32 "$helper" "$store" "$mnt" -o remount,ro
expect_err 'mount it again'
call 0 "$helper" "$work/none" "$mnt" -o rw,nofail
expect_no_err
call 32 "$helper" "$work/out" "$mnt" -o rw,nofail
call 0 "$helper" "$store" "$mnt" -f
expect inside test ! -d "$mnt/example.com"

# Options and operands in any order; what is meant for others, or sloppy, does no harm.
call 0 "$helper" -n -o "rw,noexec,relatime,user=joe,users,_netdev,noauto,nofail,comment=a,x-systemd.automount,X-a.b=c,ctl=visible" \
  -v "$store" -t fuse.mailfs "$mnt"
expect_out "$store mounted on $mnt"
expect inside test -e "$inbox/0000000001.eml"
expect equal "$(inside find "$mnt" -mindepth 1 -maxdepth 1 -name '.c*' -printf %f)" .ctl
[[ $(mount_options) == *noexec* ]] || complain_here 'noexec was lost'
call 32 "$helper" "$store" "$mnt"
expect_err 'in use'
call 0 umount "$mnt"
call 0 "$helper" "$store" "$mnt" -s -o "ro,frobnicate=1,strange,nosuid,allow_other"
expect is_mounted
[[ $(mount_options) == ro,*allow_other* ]] || complain_here "options were lost: $(mount_options)"
call 0 umount "$mnt"

# In another namespace: here is nothing then.
mkfifo "$work/go"
unshare --mount --propagation private cat "$work/go" >/dev/null &
other=$!
until [ "$(readlink "/proc/$other/ns/mnt" 2>/dev/null)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.01; done
call 0 "$helper" "$store" "$mnt" -N "/proc/$other/ns/mnt"
expect inside test ! -d "$mnt/example.com"
expect nsenter --mount="/proc/$other/ns/mnt" test -d "$mnt/example.com"
call 0 nsenter --mount="/proc/$other/ns/mnt" umount "$mnt"
echo >"$work/go"
wait "$other"
call 32 "$helper" "$store" "$mnt" -N "$work/none"
expect_err 'enter namespace'

# ---- by mount(8) ----
# /usr/sbin seems to hold our two programs, too, and /etc/fstab is ours.
mkdir "$work/sbin" "$work/second"
ln -s "$helper" "$MAILFS_BUILD/fs/mailfs" "$work/sbin/"
sbin=$(readlink -f /sbin)
inside mount -t overlay -o "lowerdir=$work/sbin:$sbin" overlay "$sbin" 2>/dev/null || skip 'no overlayfs here'
[ -e /etc/fstab ] || skip 'there is no /etc/fstab to put ours over'
touch "$work/fstab"
inside mount --bind "$work/fstab" /etc/fstab

# fstab LINE...: all that is in it.
fstab() {
  printf '%s 0 0\n' "$@" >"$work/fstab"
}

for type in mailfs fuse.mailfs; do
  [ $type == mailfs ] || [ -e "$sbin/mount.fuse" ] || continue
  fstab "$store $mnt $type defaults,relatime,ro,x-systemd.automount,nofail,_netdev"
  call 0 mount "$mnt"
  expect inside test -e "$inbox/0000000001.eml"
  [[ $(mount_options) == ro,* ]] || complain_here 'ro was lost'
  expect equal "$(inside findmnt -n -o FSTYPE,SOURCE --mountpoint "$mnt" | tr -s ' ')" "fuse.mailfs $store"
  call "$([ $type == mailfs ] && echo 32 || echo 1)" mount -o remount,rw "$mnt"
  call 0 umount "$mnt"
  expect inside test ! -d "$mnt/example.com"

  # mount -a leaves alone what is there, and what is noauto.
  fstab "$store $mnt $type noauto"
  call 0 mount -a
  expect inside test ! -d "$mnt/example.com"
  fstab "$store $mnt $type defaults"
  call 0 mount -a
  expect is_mounted
  call 0 mount -a
  expect equal "$(inside findmnt -n --mountpoint "$mnt" | wc -l)" 1
  call 0 umount -a -t fuse.mailfs
  expect inside test ! -d "$mnt/example.com"
done

# With blanks in names, verbose, faked, by the store's name alone; without fstab.
mkdir "$work/a mount"
cp -a "$store" "$work/a store"
fstab "$work/a\\040store $work/a\\040mount mailfs rw"
call 0 mount "$work/a store"
expect inside test -d "$work/a mount/example.com"
call 0 umount "$work/a mount"
call 0 mount -f "$work/a store"
expect inside test ! -d "$work/a mount/example.com"
call 0 mount -v -t mailfs -o ctldir=control "$store" "$mnt"
expect_out "$store mounted on $mnt"
expect inside grep -q '^ok$' "$mnt/control/health"
call 0 umount "$mnt"

# One that is missing is a failure of mount -a, but not with nofail; the others are mounted.
fstab "$work/none $work/second mailfs rw" "$store $mnt mailfs rw"
call 64 mount -a
expect is_mounted
call 0 umount "$mnt"
fstab "$work/none $work/second mailfs nofail" "$store $mnt mailfs rw"
call 0 mount -a
expect is_mounted
call 0 umount "$mnt"

# ---- user: who owns the store and the mountpoint mounts it and takes it away ----
mknod -m 666 "$work/fuse" c 10 229 || skip 'no device nodes here'
inside mount --bind "$work/fuse" /dev/fuse
inside sh -c ': <>/dev/fuse' 2>/dev/null || skip 'device nodes do not work here'
as_them=(setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all)
cp -a "$store" "$work/theirs"
chown -R nobody "$work/theirs" "$work/second"
fstab "$work/theirs $work/second mailfs noauto,user"
call 0 "${as_them[@]}" mount "$work/second"
expect inside "${as_them[@]}" test -e "$work/second/example.com/user/joe/INBOX/0000000001.eml"
call 0 "${as_them[@]}" umount "$work/second"
expect inside test ! -d "$work/second/example.com"
