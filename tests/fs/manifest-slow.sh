#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# While manifests are made that take long, all else that is made can be had.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

# No index has the digests, so the messages are read; two of them are large.
make_sample_store
mailstore -q reset
for mailbox in INBOX Lists; do
  truncate -s 2G "$store/mail/example.com/user/joe/$mailbox/0000000001.eml"
done
allow_log 'damaged|attributes'
start -f -o worker=off
makers=()
reads() {
  find "/proc/$daemon/fd" -lname "*/$1/0000000001.eml" | grep -q .
}
for mailbox in INBOX Lists; do
  cat "$mnt/example.com/user/joe/$mailbox/.ctl/manifest.sha256" >"$work/$mailbox" &
  makers+=($!)
done
within 10000 reads INBOX
within 10000 reads Lists
expect_equal "$(<"$mnt/.ctl/queue")" 'RecNo      Mailbox                             Timestamp      Action'
expect test ! -s "$work/INBOX" -a ! -s "$work/Lists"
kill -TERM "${makers[@]}"
wait "${makers[@]}" || true
stop
