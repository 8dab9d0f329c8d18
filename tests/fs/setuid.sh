#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# -o setuid=USER mounts as root, and then nothing of root is left: in no thread, and for nothing that is asked later.
# Everything works as without it, for a store of that user; another's is refused.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

user=nobody
uid=$(id -u "$user") group=$(id -g "$user")
chmod 755 "$work"
make_sample_store

refused() {
  mailfs "$@" "$store" "$mnt" 2>"$work/said" && return 1
  ! mountpoint -q "$mnt"
}

# ---- who cannot be, and whose store it is not --------------------------------------------------

expect refused -o setuid=root
expect grep -q "'root' is root" "$work/said"
expect refused -o setuid=0
expect refused -o setuid=no-such-user
expect grep -q "no user 'no-such-user'" "$work/said"
expect refused -o "setuid=$user"
expect grep -q "as user '$user': .*Permission denied" "$work/said"
chmod 755 "$store" && chmod 644 "$store/mailfs.conf"
expect refused -o "setuid=$user"
expect refused -o "ro,setuid=$user"
expect grep -q 'Permission denied' "$work/said"
# shellcheck disable=SC2016 # expanded by the other shell
setpriv --reuid="$uid" --regid="$group" --clear-groups bash -c '! mailfs -o setuid=daemon "$0" "$0" 2>&1' \
  "$store" >"$work/said" || complain_here 'an ordinary user became another'
expect grep -q 'only root' "$work/said"

# ---- nothing is left --------------------------------------------------------------------------

# state_of PID FIELD: what all of its threads say.
state_of() {
  awk -v field="$2:" '$1 == field { $1 = ""; print }' "/proc/$1"/task/*/status | sort -u
}
chown -R "$user:" "$store"
allow_log 'job [0-9]* (begun|done)|: (check|repair|verify) (begun|done|queued)|queued|audit|begins|begun|done'
start -f -o "allow_other,setuid=$user"
expect [ -e "$inbox/0000000001.eml" ]
expect_equal "$(state_of "$daemon" Uid)" "$(printf ' %s' "$uid" "$uid" "$uid" "$uid")"
expect_equal "$(state_of "$daemon" Gid)" "$(printf ' %s' "$group" "$group" "$group" "$group")"
for set in CapPrm CapEff CapInh CapAmb; do
  expect_equal "$(state_of "$daemon" $set)" ' 0000000000000000'
done
expect_equal "$(state_of "$daemon" NoNewPrivs)" ' 1'

# ---- and everything works ---------------------------------------------------------------------

expect cmp "$inbox/0000000001.eml" "$store/mail/example.com/user/joe/INBOX/0000000001.eml"
setfattr -n user.mailfs.flags -v '\Flagged' "$inbox/0000000001.eml"
expect_equal "$(getfattr --absolute-names --only-values -n user.mailfs.flags "$inbox/0000000001.eml")" '\Flagged'
rm "$store/index/example.com/user/joe.sqlite3"
echo 'recursive wait' >"$mnt/.ctl/reconstruct"
echo 'wait' >"$mnt/.ctl/verify"
echo 'wait' >"$mnt/.ctl/check"
expect_equal "$(<"$mnt/.ctl/health")" ok
mkdir "$mnt/.ctl/snapshots/now"
expect [ -e "$mnt/.ctl/snapshots/now/example.com/user/joe/INBOX/0000000001.eml" ]
expect_equal "$(find "$store" ! -user "$user")" ''

# Its end takes the mount away.
helper=$(pgrep -P "$daemon")
kill -TERM "$helper" # as a service manager does, to all at once
kill -TERM "$daemon"
end_daemon 0
expect_error ENOENT stat "$inbox"
! mountpoint -q "$mnt" || complain_here 'still mounted'
within 20000 test ! -e "/proc/$helper"

# When it is killed, the mount dies with it, and stays.
start -f -o "allow_other,setuid=$user"
helper=$(pgrep -P "$daemon")
kill -KILL "$daemon"
end_daemon 137
within 20000 test ! -e "/proc/$helper"
expect_error ENOTCONN stat "$inbox"
umount "$mnt"

# In the background, and unmounted by somebody else.
mailfs -o "setuid=$uid" "$store" "$mnt"
expect [ -e "$inbox/0000000001.eml" ]
umount "$mnt"
