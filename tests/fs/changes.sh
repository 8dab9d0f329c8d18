#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a tool changes beside a mount shows soon, although the kernel keeps what it was told.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f -o worker=off
count=$(find "$inbox" -name '*.eml' | wc -l)
flags() {
  getfattr --absolute-names --only-values -n user.mailfs.flags "$1" 2>/dev/null
}
has() {
  [ "$(find "$1" -name '*.eml' | wc -l)" -eq "$2" ]
}
# Whether what is shown of a message is as its file is: two changes in one tick of the clock look alike.
kept() {
  [ "$(stat -c %z "$inbox/$1.eml")" == "$(stat -c %z "$store/mail/example.com/user/joe/INBOX/$1.eml")" ]
}
flagged() {
  kept 0000000001 && [ "$(flags "$message")" == "$1" ]
}
newer() {
  [ "$(stat -c %y "$1")" != "$2" ]
}
look() {
  (cd "$mnt" && find . -printf '%P %i %s %T@ %C@\n' | sort)
}

# Deliveries: found by name, in the listing, and in the directory's mtime.
for round in 1 2 3 4 5; do
  mtime=$(stat -c %y "$inbox")
  name=$inbox/$(printf '%010u.eml' $((count + round)))
  expect_error ENOENT stat "$name"
  mailstore -q deliver joe@example.com <"$sample/01-welcome.eml" >"$work/out"
  within 20000 cmp "$sample/01-welcome.eml" "$name"
  within 20000 has "$inbox" $((count + round))
  within 20000 newer "$inbox" "$mtime"
done

# Flags: the attribute is asked for each time, the change time is kept by the kernel.
message=$inbox/0000000001.eml
mtime=$(stat -c %y "$message")
mailstore flag joe@example.com 1 +Flagged
within 20000 flagged '\Flagged'
mailstore flag joe@example.com 1 -Flagged
within 20000 flagged ''
expect_equal "$(stat -c %y "$message")" "$mtime" 'a flag changed the mtime'

# Mailboxes, of names that were looked for before.
expect_error ENOENT stat "$mnt/example.com/user/joe/New"
expect_error ENOENT stat "$mnt/example.net"
mailstore -q deliver -c joe@example.com/New/Deeper <"$sample/01-welcome.eml" >"$work/out"
mailstore -q deliver -c jim@example.net <"$sample/01-welcome.eml" >"$work/out"
within 20000 test -e "$mnt/example.com/user/joe/New/Deeper/0000000001.eml"
within 20000 test -e "$mnt/example.net/user/jim/INBOX/0000000001.eml"
within 20000 equal "$(ls "$mnt")" $'example.com\nexample.net'

# Many at once.
mkdir "$work/many"
seq -f '%05g' 1000 | while read -r i; do
  printf 'Subject: %s\n\n%s\n' "$i" "$i" >"$work/many/$i.eml"
done
mailstore -q import --format eml "$work/many" joe@example.com/Many >"$work/out"
within 20000 has "$mnt/example.com/user/joe/Many" 1000

# When the notes of what changed are lost, everything is asked for anew.
kill -STOP "$daemon"
mailstore flag joe@example.com 2 +Seen
rm "$store/changes"
kill -CONT "$daemon"
within 20000 kept 0000000002

# What an old mount shows is what a fresh one shows.
look >"$work/after"
stop
start -f -o worker=off
look | diff "$work/after" - >"$work/diff" || complain_here "a fresh mount sees another tree: $(head "$work/diff")"

# An answer that is on its way while a change is told carries the old state; so the change is told again
# when the answer has arrived. Here the answer to a first look is held back until long after the change.
if command -v strace >/dev/null; then
  tasks=()
  for task in "/proc/$daemon/task"/*; do
    [ "$(<"$task/comm")" == notify ] || tasks+=(-p "${task##*/}")
  done
  mailstore -q deliver joe@example.com <"$sample/01-welcome.eml" >"$work/out"
  uid=$(<"$work/out")
  name=$(printf '%010u' "$uid")
  sleep 0.5 # until that has been told
  stat "$inbox" >"$work/out"
  strace "${tasks[@]}" -e trace=writev -e inject=writev:delay_enter=1500000:when=1 2>"$work/strace" &
  tracer=$!
  all_attached() {
    [ "$(grep -c attached "$work/strace")" -eq $((${#tasks[@]} / 2)) ]
  }
  within 20000 all_attached
  stat "$inbox/$name.eml" >"$work/out" &
  looker=$!
  sleep 0.5
  mailstore flag joe@example.com "$uid" +late
  wait "$looker"
  kill "$tracer"
  wait "$tracer" || true
  within 20000 kept "$name"
fi

# Readers that never stop see every change all the same.
stress() {
  python3 - "$inbox" "$work/stop" <<'PYTHON' &
import os, sys
while not os.path.exists(sys.argv[2]):
    for entry in os.scandir(sys.argv[1]):
        entry.stat(follow_symlinks=False)
PYTHON
  readers+=($!)
}
readers=()
rm -f "$work/stop"
stress
stress
for round in $(seq 20); do
  mailstore flag joe@example.com 3 "+round$round"
  within 20000 kept 0000000003
done
touch "$work/stop"
wait "${readers[@]}" || complain_here 'a reader failed'
stop
