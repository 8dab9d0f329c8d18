#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the attributes of directories say: of the root, domains, users and mailboxes, with what is below them; and that
# nobody waits long for a store that takes long to count.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
deliver() {
  mailstore -q deliver -c "$@" <"$sample/01-welcome.eml" >"$work/out"
}
deliver --flags '\Seen' joe@example.com/INBOX/Old
deliver joe@example.com/INBOX/Old/Older
deliver 'Public Folders/News@example.com'
deliver ann@example.net
mailstore flag joe@example.com/INBOX 1 '+\Deleted'
mailstore -q expunge joe@example.com >"$work/out"
size=$(stat -c %s "$sample/01-welcome.eml")

start -f -o worker=off
joe=$mnt/example.com/user/joe
get() {
  getfattr --absolute-names --only-values -n "user.mailfs.$1" "$2"
}
# figures DIRECTORY: messages, unseen, rmessages, expunged.
figures() {
  echo "$(get messages "$1") $(get unseen "$1") $(get rmessages "$1") $(get expunged "$1")"
}
expect_figures() {
  [ "$(figures "$1")" == "$2" ] || complain_here "$1: $(figures "$1"), not $2"
}

# A mailbox is itself, and with an r everything below; what holds no messages itself is what is below it.
expect_figures "$inbox/Old/Older" '1 1 1 0'
expect_figures "$inbox/Old" '1 0 2 0'
expect_figures "$inbox" '4 4 6 1'
expect_figures "$joe" '9 8 9 1'
expect_figures "$mnt/example.com/user" '9 8 9 1'
expect_figures "$mnt/example.com/shared" '1 1 1 0'
expect_figures "$mnt/example.com" '10 9 10 1'
expect_figures "$mnt/example.net" '1 1 1 0'
expect_figures "$mnt" '11 10 11 1'
expect_equal "$(get bytes "$mnt/example.net") $(get rbytes "$mnt/example.net")" "$size $size"
expect_equal "$(get rbytes "$mnt")" "$(find "$mnt" -name '*.eml' -printf '%s\n' | awk '{ sum += $1 } END { print sum }')"
expect_equal "$(get messages "$mnt")" "$(status_of messages)"
highest=0
for box in "$inbox" "$inbox/Old" "$joe/Lists" "$joe/Receipts"; do
  [ "$(get highestmodseq "$box")" -le "$highest" ] || highest=$(get highestmodseq "$box")
done
expect_equal "$(get highestmodseq "$joe")" "$highest"

# What changes shows; at once, where counting takes no time.
counts() {
  [ "$(get rmessages "$1")" == "$2" ]
}
for i in 1 2 3 4 5; do
  deliver ann@example.net
  within 20000 counts "$mnt/example.net" $((1 + i))
done
within 20000 counts "$mnt" 16 # a count that took long is kept for a while

# UIDs are those of one mailbox; all tells all that there is.
for directory in "$joe" "$mnt/example.com/user" "$mnt/example.com" "$mnt"; do
  for name in uidvalidity uidnext subscribed special_use last_repair job; do
    expect_error ENODATA get "$name" "$directory"
  done
  expect_equal "$(getfattr --absolute-names -d -m - "$directory" | grep -v '^#\|\.number=')" ''
  expect_equal "$(get all "$directory" | cut -d' ' -f1 | grep -v number | tr '\n' ' ')" \
    'messages unseen bytes rmessages rbytes expunged highestmodseq health '
done
expect_equal "$(get all "$inbox" | cut -d' ' -f1 | tr '\n' ' ')" \
  'number uidvalidity uidnext messages unseen bytes rmessages rbytes expunged highestmodseq health '
expect_equal "$(get all "$mnt" | sed -n 's/^rmessages //p')" "$(get rmessages "$mnt")"

# What is wrong below shows above, and nowhere else.
healths() {
  local directory
  for directory in "$mnt" "$mnt/example.com" "$joe" "$inbox" "$mnt/example.net"; do
    get health "$directory"
    echo -n ' '
  done
}
are() {
  [ "$(healths)" == "$1" ]
}
within 20000 are 'ok ok ok ok ok '
rm "$store/index/example.com/user/joe.sqlite3"
within 20000 are 'degraded degraded degraded degraded ok '
mailstore -q reconstruct -r >"$work/out" || true
within 20000 are 'ok ok ok ok ok '
for directory in "$mnt" "$joe" "$inbox"; do
  expect [ "$(get last_repair "$directory" | cut -c1-2)" == 20 ]
done
expect_error ENODATA get last_repair "$mnt/example.net"

# The job of a directory: the one that runs, or the first that waits.
mailstore -q queue add check joe@example.com >"$work/out"
first=$(mailstore queue | awk '$NF == "check" { print $1 }')
mailstore -q queue add repair joe@example.com >"$work/out"
expect_equal "$(get job "$joe")" "$first queued check"
expect_error ENODATA get job "$inbox"
expect_error ENODATA get job "$mnt"
mailstore -q queue remove "$first"
expect_equal "$(get job "$joe")" "$((first + 1)) queued repair"
mailstore -q queue remove $((first + 1))
expect_error ENODATA get job "$joe"
expect_equal "$(getfattr --absolute-names -n user.mailfs.all --only-values "$joe" | grep -c '^job ')" 0

# Counting that takes long holds nobody up: not those who ask for something else, and not for ever those who
# ask for it. The next time it is known.
if command -v strace >/dev/null; then
  stop
  start -f -o worker=off
  strace -f -p "$daemon" -P "$store/mail/example.com/user/joe/Lists" \
    -e trace=fstat,newfstatat -e inject=fstat,newfstatat:delay_enter=3000000 \
    2>"$work/strace" &
  tracer=$!
  within 20000 grep -q attached "$work/strace"
  for i in $(seq 12); do
    get rmessages "$joe" >"$work/asked.$i" 2>&1 &
    askers[i]=$!
  done
  for i in $(seq 20); do
    expect_equal "$(get messages "$inbox") $(get rmessages "$mnt/example.net")" '4 6'
  done
  for i in $(seq 12); do
    wait "${askers[i]}" && complain_here "known already: $(<"$work/asked.$i")"
    expect grep -q 'temporarily unavailable' "$work/asked.$i"
  done
  within 20000 counts "$joe" 9
  kill "$tracer"
  wait "$tracer" || true
fi
stop

start -f -o worker=off,xattrs=data
expect_equal "$(get uidnext "$inbox")" 6
for name in messages rmessages health job all; do
  expect_error ENODATA get "$name" "$inbox"
  expect_error ENODATA get "$name" "$mnt"
done
stop
