#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# -o replace: where a mount has died, who looks sees the dead one or the new one, never an empty directory.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
make_sample_store

# Kills the daemon, and returns when the mount is dead.
kill_daemon() {
  kill -KILL "$daemon"
  wait "$daemon" || true
  until ! stat -f "$mnt" >/dev/null 2>&1; do sleep 0.01; done
}

# Looks until it is told to end, and tells of an empty directory. It leaves a file when it has looked first, and one
# whenever it has seen mail.
cat >"$work/look.py" <<'PYTHON'
import errno, os, sys
seen, looks = set(), 0
while not os.path.exists(sys.argv[2]):
    try:
        names = os.listdir(sys.argv[1])
        seen.add('mail' if names else 'EMPTY')
        open(sys.argv[3] + '.mail', 'w').close()
    except OSError as error:
        # Aborted: the daemon died while it was asked.
        seen.add('dead' if error.errno in (errno.ENOTCONN, errno.ECONNABORTED) else repr(error))
    looks += 1
    if looks == 1:
        open(sys.argv[3], 'w').close()
print(' '.join(sorted(seen)))
PYTHON

start -f
kill_daemon
status=0
mailfs "$store" "$mnt" 2>"$work/err" || status=$?
expect_status 1
err=$(<"$work/err")
expect_err 'or -o replace'

# A store that cannot be opened leaves the dead mount where it is.
status=0
mailfs -o replace "$work/none" "$mnt" 2>"$work/err" || status=$?
expect_status 1
expect_error ENOTCONN ls "$mnt"
python3 -B "$work/look.py" "$mnt" "$work/end" "$work/looking" >"$work/seen" &
looker=$!
until [ -e "$work/looking" ]; do sleep 0.01; done
for _ in 1 2 3 4 5; do
  mailfs -f -o replace "$store" "$mnt" 2>"$work/log" &
  daemon=$!
  until stat -f "$mnt" >/dev/null 2>&1; do sleep 0.01; done
  expect cmp "$sample/01-welcome.eml" "$inbox/0000000001.eml"
  rm -f "$work/looking.mail"
  until [ -e "$work/looking.mail" ]; do sleep 0.01; done
  kill_daemon
done
touch "$work/end"
wait "$looker"
# What the kernel has kept of a listing it tells after the death, too.
expect equal "$(<"$work/seen")" 'dead mail'

# In the background, too, and what was staged is gone. It ends well, and takes its own mount away only.
mkdir "$work/tmp"
TMPDIR=$work/tmp mailfs -o replace "$store" "$mnt"
daemon=$(sed -n 's/^pid //p' "$mnt/.ctl/status")
expect_equal "$(ls -A "$work/tmp")" ''
expect equal "$(findmnt -n -o SOURCE --mountpoint "$mnt" | tail -n 1)" "$store"
umount "$mnt"
while kill -0 "$daemon" 2>/dev/null; do sleep 0.01; done
while umount "$mnt" 2>/dev/null; do :; done # the dead ones, where they could not be replaced
expect test -d "$mnt"

# Where nothing has died it does nothing, and a living mount is not replaced.
start -f -o replace
status=0
mailfs -o replace "$store" "$mnt" 2>"$work/err" || status=$?
expect_status 1
kill -TERM "$daemon"
end_daemon 0
expect test -z "$(ls -A "$mnt")"
