#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may control the store: its owner, where the mount is writable, and nobody with more than his rights.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
chmod 755 "$work"
ctl=$mnt/.ctl
cat >"$work/write" <<'BASH'
#!/bin/bash
echo 1 >"$1"
BASH
cat >"$work/append" <<'BASH'
#!/bin/bash
echo 1 >>"$1"
BASH
cat >"$work/backup" <<'BASH'
#!/bin/bash
echo "backup directory=/tmp/nowhere $2" >"$1"
BASH
chmod 755 "$work/write" "$work/append" "$work/backup"

# With -o ro the kernel refuses everything; what is there can be read.
start -f -o ro
for name in ctl repair config/verify config/worker; do
  expect_error EROFS write_to "$ctl/$name"
  expect_error EROFS append_to "$ctl/$name"
done
expect_error EROFS write_to "$inbox/.ctl/repair"
expect_error EROFS setfattr -n user.mailfs.cmd.check -v 1 "$inbox"
expect_equal "$(<"$ctl/repair") $(<"$ctl/config/read_only") $(<"$ctl/config/worker")" 'idle on off'
expect [ "$(wc -l <"$ctl/manifest.sha256")" -gt 8 ]
stop

# Nobody else gets in at all, but with allow_other.
start -f -o worker=off
expect_error EACCES as_nobody cat "$ctl/version"
stop
start -f -o worker=off,allow_other,dmode=755
expect_error EACCES as_nobody cat "$ctl/version"
expect_error EACCES as_nobody "$work/write" "$ctl/ctl"
expect_error EACCES as_nobody "$work/append" "$inbox/.ctl/repair"
expect_error EACCES as_nobody setfattr -n user.mailfs.cmd.check -v 1 "$inbox"
expect_equal "$(<"$inbox/.ctl/repair")" idle
stop

# The owner of the mount may, but names no directory to a daemon that has more rights.
start -f -o "worker=off,allow_other,dmode=755,uid=$(id -u nobody),gid=$(id -g nobody)"
as_nobody "$work/write" "$inbox/.ctl/repair" || complain_here 'the owner may not'
expect_equal "$(<"$inbox/.ctl/repair")" 'queued 1'
expect_equal "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["uid"])' <"$ctl/audit")" "$(id -u nobody)"
expect_error EPERM as_nobody "$work/backup" "$ctl/ctl" now
expect_error EPERM as_nobody "$work/backup" "$ctl/ctl" ''
expect_equal "$(cut -f 5 "$ctl/last_error" | sort -u)" EPERM
expect_equal "$(readlink "$ctl/jobs/last")" 1

# Settings: some can be set, at once and for the store; a bad value changes nothing.
config() {
  echo "$2" >"$ctl/config/$1"
}
config cleanup.age 3d
expect_equal "$(<"$ctl/config/cleanup.age")" 3d
expect grep -qE '^age *= *3d' "$store/mailfs.conf"
printf 7 >"$ctl/config/cleanup.size"
expect_equal "$(<"$ctl/config/cleanup.size")" 7
expect_error EINVAL config cleanup.age soon
expect_error EINVAL config purge.percentage 200
expect_equal "$(<"$ctl/config/cleanup.age") $(<"$ctl/config/purge.percentage")" '3d 5'
expect_error EINVAL config verify perhaps
for mode in never always first; do
  config verify "$mode"
  expect_equal "$(<"$ctl/config/verify") $(status_of verify)" "$mode $mode"
done
for name in store mountpoint ctl ctldir xattrs read_only uuid; do
  expect_error EPERM config "$name" x
done
expect_equal "$(<"$ctl/config/store") $(<"$ctl/config/mountpoint")" "$store $mnt"
expect_equal "$(<"$ctl/config/ctl") $(<"$ctl/config/ctldir") $(<"$ctl/config/xattrs") $(<"$ctl/config/read_only")" 'hidden .ctl all off'

# The worker can be turned on and off.
allow_log 'job [0-9]+: '
repaired() {
  [ "$(<"$inbox/.ctl/repair")" == 'done 1 fixed=0 left=0' ]
}
expect_equal "$(status_of worker)" off
config worker on
within 10000 repaired
config worker off
expect_equal "$(status_of worker) $(<"$ctl/config/worker")" 'off off'
echo 1 >"$ctl/verify"
expect_equal "$(<"$ctl/verify")" 'queued 2'
stop
