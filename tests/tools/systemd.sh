#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The units of systemd: they are valid, are as confined as they can be, and do what they are for as far as
# that can be seen without systemd at work.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
command -v systemd-analyze >/dev/null || skip 'no systemd-analyze'

DESTDIR=$work/root cmake --install "$MAILFS_BUILD" >"$work/log" 2>&1 || skip 'not all programs are built'
units=$(find "$work/root" -type d -path '*/lib/systemd/system')
cp "$(find "$work/root" -name mnt-mail.mount)" "$(find "$work/root" -name mnt-mail.automount)" "$units/"
conf=$(find "$work/root" -name mail.conf)

# Where the programs are that they name.
sed -Ei "s#^ExecStart=(mailfs|mailstore|mailfs-backup) #ExecStart=$work/bin/\1 #" "$units"/*.service
mkdir "$work/bin"
ln -s "$MAILFS_BUILD/fs/mailfs" "$MAILFS_BUILD/tools/mailstore" "$MAILFS_SOURCE/contrib/mailfs-backup" "$work/bin/"
export SYSTEMD_UNIT_PATH="$units:"

analyze() {
  status=0
  systemd-analyze "$@" >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}
for unit in mailfs@mail.service mailfs-{check,clean,backup}@mail.{service,timer} mnt-mail.{mount,automount}; do
  analyze verify --man=no "$unit"
  expect_status 0
  # Of other units on this machine it may have something to say.
  [[ $err != *"${unit%%@*}"* ]] || complain "verify $unit"
done

# Exposure, from 0 to 10: a mount needs more than a look at the store.
security() {
  analyze security --offline=true --threshold="$2" --no-pager "$1"
  expect_status 0
}
security mailfs@mail.service 42
mkdir "$units/mailfs@mail.service.d"
cp "$(find "$work/root" -name setuid.conf)" "$units/mailfs@mail.service.d/"
security mailfs@mail.service 40
rm -r "$units/mailfs@mail.service.d"
security mailfs-check@mail.service 17
security mailfs-clean@mail.service 18

# Nothing may give the mount a namespace of its own: nobody would see it.
if grep -nE '^(Private(Mounts|Tmp|Devices|Network|IPC|Users)|Protect(System|Home|Kernel.*|ControlGroups|Proc|Hostname)|ProcSubset|(Read(Write|Only)|Inaccessible|Exec|NoExec)Paths|Bind.*|TemporaryFileSystem|Root.*|MountFlags|DynamicUser|[A-Za-z]*Directory|LogNamespace)=' \
  "$units/mailfs@.service"; then
  complain 'the mount would have a namespace of its own'
fi
# Nor unmount what has died.
! grep -n umount "$units/mailfs@.service" || complain 'an empty directory could be found'

# A service that may not use openat2(2) cannot open a store.
! grep -n '^RestrictSUIDSGID=' "$units"/*.service || complain 'openat2 would be forbidden'

# The timers are due when they say.
for timer in mailfs-check mailfs-clean mailfs-backup; do
  analyze calendar "$(sed -n 's/^OnCalendar=//p' "$units/$timer@.timer")"
  expect_status 0
done

# ---- what the services run, on a store ----
# commands SERVICE: its ExecStart lines, as systemd would make words of them.
commands() {
  sed -n 's/^ExecStart=//p' "$units/$1"
}
sed -i "s|^STORE=.*|STORE=$store|; s|^MOUNTPOINT=.*|MOUNTPOINT=$work/mnt|" "$conf"
set -a
# shellcheck source=/dev/null
source "$conf"
set +a
mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com
run_service() {
  local line
  status=0
  while IFS= read -r line; do
    eval "$line" >"$work/out" 2>"$work/err" || status=$?
  done < <(commands "$1")
  out=$(<"$work/out") err=$(<"$work/err")
}
run_service mailfs-check@.service
expect_status 0
run_service mailfs-clean@.service
expect_status 0
rm "$store/index/example.com/user/joe.sqlite3"
run_service mailfs-check@.service
expect_status 1
expect_out missing-index
mailstore -q repair >"$work/out"

# The backup's command is words, and does not know where it is run. Without one it is refused.
export MAILFS_BACKUP_RUN=$work/run
BACKUP='' run_service mailfs-backup@.service
expect_status 64
if [ "$(id -u)" -eq 0 ] && [ -e /dev/fuse ]; then
  BACKUP="cp -r ./example.com $work/copied" run_service mailfs-backup@.service
  expect_status 0
  expect_equal "$(find "$work/copied" -name '*.eml' | wc -l)" 8
fi

# The mount says when it is ready, and what it is doing; a signal unmounts it.
[ "$(id -u)" -eq 0 ] || skip 'needs root'
needs_fuse
mounts+=("$work/mnt")
mkdir "$work/mnt"
cat >"$work/notified.py" <<'PYTHON'
import os, shlex, signal, socket, subprocess, sys
where = sys.argv[1] + '/notify'
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(where)
listener.settimeout(60)
words = [os.path.expandvars(word) for word in shlex.split(sys.argv[2])]
daemon = subprocess.Popen(words, env={**os.environ, 'NOTIFY_SOCKET': where})
def wait_for(field):
    while True:
        for line in listener.recv(65536).decode().split('\n'):
            if line.startswith(field):
                return line
wait_for('READY=1')
print(len(os.listdir(os.environ['MOUNTPOINT'])), 'listed when it was ready')
daemon.send_signal(signal.SIGTERM)
wait_for('STOPPING=1')
print('ended with', daemon.wait(60))
PYTHON
for options in rw '' ctl=visible,ro; do
  status=0
  rm -f "$work/notify"
  OPTIONS=$options python3 -B "$work/notified.py" "$work" "$(commands mailfs@.service)" >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  expect_status 0
  expect_out 'listed when it was ready'
  expect_out 'ended with 0'
  ! mountpoint -q "$work/mnt" || complain 'still mounted'
done
