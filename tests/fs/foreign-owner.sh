#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A store whose owner is not root, served by root: the owner may give orders, and borrows no rights.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

command -v setpriv >/dev/null || skip 'needs setpriv'
make_sample_store
chown -R 1234:5678 "$store"
chmod a+rx "$work"
ctl=$mnt/.ctl
allow_log '^mailfs: job [0-9]+: '

# Nobody but root may look here, as the name of the directory in the store's notes says.
secret=$work/secret
mailstore -q backup "$secret" >"$work/out"
chmod 700 "$secret"
grep -q "$secret" "$store/backup.conf" || complain_here 'no note of the backup'

as_owner() {
  setpriv --reuid 1234 --regid 5678 --clear-groups "$@"
}
# shellcheck disable=SC2016 # it is expanded there
order() {
  as_owner bash -c 'echo "$2" >"$1"' - "$@"
}
# A row in the queue, which is the owner's to write.
forge() {
  python3 - "$store/queue.sqlite3" "$1" <<'PYTHON'
import sqlite3, sys
queue = sqlite3.connect(sys.argv[1], timeout=60)
queue.execute("INSERT INTO job (state, queued, cancel, deaths, runner, action, nodes, created_s,"
              " due_s, started_s, ended_s, done, total, fixed, left, taken, code, log, changed)"
              " VALUES (0, 1, 0, 0, 0, ?, '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '',"
              " (SELECT 1 + max (changed) FROM job))", (sys.argv[2],))
queue.commit()
PYTHON
}
# The mount looks at a queue that others write within a second: until then the last job is another.
last_ended() {
  [[ $(<"$ctl/jobs/last/cmd") == "$1" && $(<"$ctl/jobs/last/state") != @(queued|running) ]]
}

start -f -o allow_other
order "$ctl/ctl" 'check wait'
expect_equal "$(<"$ctl/jobs/last/state")" 'done'
for line in "backup directory=$work/new" "restore directory=$secret" 'recover catastrophic' \
  "recover now catastrophic directory=$secret"; do
  expect_error EPERM order "$ctl/ctl" "$line"
done
expect_error EPERM order "$ctl/recover" catastrophic
expect_error EPERM as_owner setfattr -n user.mailfs.cmd.recover -v catastrophic "$mnt"
for action in "backup directory=$work/new" "restore dry-run directory=$secret" \
  'recover catastrophic' "recover catastrophic directory=$secret"; do
  forge "$action"
  within 60000 last_ended "$action"
  expect_equal "$(<"$ctl/jobs/last/state")" cancelled
done
expect test ! -e "$work/new"
echo 'recover now wait catastrophic' >"$ctl/ctl"
expect_equal "$(<"$ctl/jobs/last/state")" 'done'
stop
