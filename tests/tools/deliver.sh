#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore deliver: one message from standard input into a mailbox.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
message=$sample/01-welcome.eml

run deliver joe@example.com/INBOX <"$message"
expect_status 66
expect_one_error
expect_no_out
run list
expect_no_out

run deliver --create joe@example.com <"$message"
expect_status 0
expect_equal "$out" 1
expect_no_err
run deliver joe@example.com/INBOX <"$sample/02-unicode.eml"
expect_equal "$out" 2
run deliver -c joe@example.com/Archive/2024 <"$message"
expect_equal "$out" 1
run list
expect_status 0
expect_equal "$out" 'joe@example.com/Archive
joe@example.com/Archive/2024
joe@example.com/INBOX'

run --json deliver example.com/user/joe/INBOX <"$message"
expect_status 0
expect_json 'rows[0]["uid"] == 3' 'rows[0]["mailbox"] == "joe@example.com/INBOX"' \
  "rows[0]['sha256'] == '$(sha256sum <"$message" | cut -d' ' -f1)'" \
  "rows[0]['size'] == $(stat -c %s "$message")"

run deliver --flags '\Seen \Flagged work' --date 2020-02-29T12:00:00+01:00 joe@example.com <"$message"
expect_equal "$out" 4
run list --json joe@example.com/INBOX
expect_json 'rows[3]["flags"] == ["\\Flagged", "\\Seen", "work"]' \
  'rows[3]["internaldate"] == "2020-02-29T11:00:00Z"'
run deliver --date @86400 joe@example.com <"$message"
run list --json joe@example.com/INBOX
expect_json 'rows[4]["internaldate"] == "1970-01-02T00:00:00Z"' 'rows[4]["flags"] == []'

run deliver --date 2024-05-31 --flags 'Seen NotJunk draft' joe@example.com <"$message"
run list --json joe@example.com/INBOX
expect_json 'rows[5]["internaldate"] == "2024-05-31T00:00:00Z"' \
  'rows[5]["flags"] == ["\\Draft", "\\Seen", "NotJunk"]'

# What is wrong is said, and nothing is delivered.
run deliver --date yesterday joe@example.com <"$message"
expect_status 64
expect_one_error
run deliver --date 2024-05-32 joe@example.com <"$message"
expect_status 64
run deliver --flags Recent joe@example.com <"$message"
expect_status 64
run deliver --flags '\Nonsense' joe@example.com <"$message"
expect_status 64
run deliver joe@example.com </dev/null
expect_status 65
expect_err empty
run deliver <"$message"
expect_status 64
run deliver example.com <"$message"
expect_status 66
run deliver jane@example.com <"$message"
expect_status 66
expect_equal "$(mailstore list --no-headers joe@example.com/INBOX | wc -l)" 6
expect_equal "$(find "$store/tmp" -type f | wc -l)" 0 'tmp/ is not empty'

# What is delivered is delivered, whoever listens: a failure would make an MTA deliver it again.
deliver_to() {
  status=0
  env --default-signal=PIPE mailstore "$@" deliver -c joe@example.com/Deaf <"$message" 2>"$work/err" || status=$?
  err=$(<"$work/err")
  expect_status 0
}
deliver_to >/dev/full
expect_one_error
deliver_to --json >/dev/full
deliver_to >&-
expect_one_error
mkfifo "$work/pipe"
# shellcheck disable=SC2217 # it only holds the pipe open
sleep 60 <"$work/pipe" &
reader=$!
exec 9>"$work/pipe"
kill "$reader"
wait "$reader" || true
deliver_to >&9
exec 9>&-
expect_equal "$(mailstore list --no-headers joe@example.com/Deaf | wc -l)" 4
deliver_from_nowhere() {
  status=0
  mailstore deliver joe@example.com/Deaf <&- >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}
deliver_from_nowhere
[ "$status" -ne 0 ] || complain 'delivered from a closed descriptor'
expect_one_error
expect_no_out

# Bytes are kept as they are: NUL, bare CR, no line end at the end, 3 MB in one line.
python3 -c 'import sys; sys.stdout.buffer.write(b"Subject: odd\r\n\r\n\0\1\r\xff" + b"x" * 3000000)' >"$work/odd"
run deliver joe@example.com <"$work/odd"
expect_equal "$out" 7
mailstore cat joe@example.com 7 | cmp - "$work/odd" || complain 'bytes changed'

# Many at once: every one gets a UID of its own.
for _ in $(seq 20); do
  mailstore deliver joe@example.com/Archive <"$message" >>"$work/uids" &
done
wait
expect_equal "$(sort -n "$work/uids")" "$(seq 20)"
# The NUL bytes are told, and are no damage.
run check --full
expect_status 0
expect_equal "$(cut -d' ' -f1 "$work/out")" nul
