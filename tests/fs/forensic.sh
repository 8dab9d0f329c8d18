#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A forensic mount shows what is there, the newest rows of a write-ahead log and no interrupted write,
# and changes nothing: no byte, attribute or time, whoever looks, and on whatever medium.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/forensic-lib.sh"

make_disk
make_sample_store
index=$store/index/example.com/user/joe.sqlite3
expected=$(mailstore list)
mailstore manifest | grep -v '^#' >"$work/manifest"

# ---- what is shown, and that nothing is left of looking

allow_log 'undone|taken from its log|no state|salvaged|damaged|no mailfs.conf|counter of mailbox numbers'
mounted_look() {
  start -f -o "$1"
  look
  (cd "$mnt" && sha256sum --quiet -c) <"$work/manifest" || complain "not all mail is there: $1"
  expect_equal "$(status_of access)" forensic
  stop
}
tools_look() {
  run --forensic list
  expect_status 0
  expect_equal "$out" "$expected"
  run --forensic check --full
  run --forensic verify
  expect_status 0
  run --forensic manifest
  expect_equal "$(grep -v '^#' <<<"$out")" "$(<"$work/manifest")"
  run --forensic export --format jsonl
  expect_status 0
  run --forensic report
  expect_status 0
  run --forensic report --html "$work/page.html"
  expect_status 0
  run --forensic cat joe@example.com/INBOX 1
  expect_status 0
  run --forensic snapshot list
  run --forensic jobs
  run --forensic queue
  run --forensic quarantine list
  run --forensic test
}
age
unchanged mounted_look forensic
unchanged tools_look
expect_equal "$(grep -c 'undone\|log' "$work/log" || true)" 0

# Nothing can be changed.
start -f -o forensic
expect_error EROFS setfattr -n user.mailfs.flags -v '\Seen' "$inbox/0000000001.eml"
expect_error EROFS bash -c "echo 1 >'$mnt/.ctl/repair'"
expect_error EROFS mkdir "$mnt/.ctl/snapshots/x"
# Tools that go through the mount leave no trace, either.
through_mount() {
  run -s "$mnt" list
  expect_equal "$out" "$expected"
  run -s "$mnt" check --full
  expect_status 0
}
unchanged through_mount
stop
for command in 'deliver joe@example.com' 'reconstruct' 'repair' 'snapshot take' 'flag joe@example.com/INBOX 1 +\Seen' \
  "init $work/other" 'work --once' 'reconstruct --dry-run'; do
  # shellcheck disable=SC2086 # words
  unchanged run --forensic $command </dev/null
  [ "$status" -ne 0 ] || complain "it was not refused: $command"
done

# ---- what crashes have left: commits in a log, and a write that never came to its end

write_to_log "$index"
rm "$index-shm"
interrupt "$store/queue.sqlite3"
interrupt "$store/mailboxes.sqlite3"
age
newest_look() {
  mounted_look "$1"
  grep -q '^user.mailfs.flags="\\\\Flagged"' "$work/attributes" || complain "the log is ignored: $1"
  grep -q 'joe.sqlite3: 1 commit is taken' "$work/log" || complain 'the log is not told of'
  grep -q 'mailboxes.sqlite3: an interrupted write' "$work/log" || complain 'the journal is not told of'
}
unchanged newest_look forensic
mkdir "$work/scratch"
unchanged newest_look "forensic,workdir=$work/scratch"
expect_equal "$(ls -A "$work/scratch")" audit.jsonl
unchanged tools_look

# ---- somebody else, who may read but owns nothing

chmod -R o+rX "$store"
chmod o+rx "$work"
nobody_looks() {
  as_nobody env TMPDIR=/tmp mailstore --forensic list >"$work/out" 2>"$work/err" ||
    complain "an ordinary user cannot look: $(<"$work/err")"
  expect_equal "$(<"$work/out")" "$expected"
  as_nobody mailstore --forensic verify >"$work/out" 2>&1 || complain "not verified: $(<"$work/out")"
}
nobody_mounts() {
  mkdir "$work/theirs"
  chown nobody "$work/theirs"
  as_nobody mailfs -f -o forensic "$store" "$work/theirs" 2>"$work/log" &
  daemon=$!
  until as_nobody mountpoint -q "$work/theirs"; do
    kill -0 "$daemon" 2>/dev/null || {
      echo "an ordinary user cannot mount here: $(<"$work/log")"
      return 0
    }
  done
  # shellcheck disable=SC2016 # for the shell there
  as_nobody bash -c 'cd "$1" && find . -type f -exec cat {} + >/dev/null && cat .ctl/status >/dev/null && sha256sum --quiet -c' \
    - "$work/theirs" <"$work/manifest" || complain 'an ordinary user does not see all'
  umount "$work/theirs"
  wait "$daemon" || complain "the daemon failed: $(<"$work/log")"
}
nobody_looks
# Where unprivileged namespaces are forbidden, or something runs threads of its own in each process, as
# ThreadSanitizer does, the kernel gives no view. That is said, for then access times change.
if grep -q 'no view' "$work/err"; then
  echo 'no view for ordinary users here'
else
  age
  unchanged nobody_looks
  unchanged nobody_mounts
fi

# ---- a kernel that gives no view: the owner still leaves no trace, and it is said

owner_looks() {
  # shellcheck disable=SC2016 # for the shell there
  unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' - \
    setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin mailstore --forensic "$@" \
    >"$work/out" 2>"$work/err" || complain "the owner cannot look: $(<"$work/err")"
  expect_equal "$(<"$work/out")" "$expected"
  grep -q 'no view' "$work/err" || complain 'it is not told that there is no view'
}
if unshare --user --map-root-user true 2>/dev/null; then
  age
  unchanged owner_looks list
fi

# ---- a medium that cannot be written

remount_disk ro
unchanged newest_look forensic
unchanged tools_look

# ---- numbers that are made up stay the same

remount_disk strictatime
rm -rf "$store/index" "$store/mailfs.conf" "$store"/*.sqlite3*
find "$store/mail" -exec setfattr -x user.mailfs.mailbox {} \; -exec setfattr -x user.mailfs.user {} \; \
  -exec setfattr -x user.mailfs.directory {} \; -exec setfattr -x user.mailfs.state {} \; 2>/dev/null
age
numbered_look() {
  mounted_look forensic
  awk '{print $1, $NF}' "$work/listing" | grep -v "/.ctl" | sort >"$1"
}
unchanged numbered_look "$work/first"
unchanged numbered_look "$work/second"
expect_equal "$(<"$work/first")" "$(<"$work/second")"
