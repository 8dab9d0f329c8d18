#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A backup and a restore that are to be slow are.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
head -c 3000000 /dev/zero | tr '\0' x >"$work/message"
mailstore -q deliver -c joe@example.com/INBOX <"$work/message" >/dev/null
backup=$work/backup

# A machine under load is slower, never faster: what is left of a second goes at once. With no limit the same takes
# far less.
took() {
  local before=$EPOCHREALTIME
  "$@" >&2
  echo $(((${EPOCHREALTIME/./} - ${before/./}) / 1000))
}
expect_slow() {
  [ "$1" -ge 1300 ] || complain "3 MB at 2 MB a second took $1 ms"
}
expect_slow "$(took mailstore -q backup --rate=2M "$backup")"
cmp "$work/message" "$backup/mail/example.com/user/joe/INBOX/0000000001.eml" || complain 'another message'
rm "$store/mail/example.com/user/joe/INBOX/0000000001.eml"
expect_slow "$(took mailstore -q restore "$backup" rate=2m)"
run check --full
expect_status 0

# Whoever cancels it does not wait for it.
(
  trap - INT
  exec "$MAILFS_BUILD/tools/mailstore" -q backup --rate=1K "$work/slow"
) &
slow=$!
for ((i = 0; i < 1500; i++)); do
  [ ! -s "$work/slow/tmp/0" ] || break
  sleep 0.02
done
kill -INT "$slow"
code=0
wait "$slow" || code=$?
[ "$code" -ne 0 ] || complain 'it was not interrupted'

for rate in 0 '' -1 1T M 20MB 1.5M; do
  run backup --rate="$rate" "$work/other"
  expect_status 64
  expect_err 'is no size'
done
run check --rate=1M
expect_status 64
