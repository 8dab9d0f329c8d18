#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore manifest and export: what others check a store with, and make another one of.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_fuse

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com
mailstore -q mailbox create 'joe@example.com/Two words' 'joe@example.com/Back\slash' ann@example.com
echo 'Subject: one' | mailstore -q deliver 'joe@example.com/Two words' >/dev/null
echo 'Subject: two' | mailstore -q deliver --flags '\Seen Blue' 'joe@example.com/Back\slash' >/dev/null
messages=$(count)
mount_store

# The mount is what it is about; so are the message files below mail/.
run manifest
expect_status 0
expect_no_err
expect_equal "$(grep -vc '^#' "$work/out")" "$messages"
cp "$work/out" "$work/manifest"
(cd "$work/mnt" && sha256sum --strict --quiet -c "$work/manifest") || complain 'sha256sum in the mount'
(cd "$store/mail" && sha256sum --strict --quiet -c "$work/manifest") || complain 'sha256sum in mail/'
run manifest joe@example.com
(cd "$work/mnt/example.com/user/joe" && sha256sum --strict --quiet -c "$work/out") || complain 'of a user'
unmount_store

# One changed byte is what it is for.
file=$store/mail/example.com/user/joe/INBOX/0000000001.eml
printf '\377' | dd of="$file" bs=1 seek=20 conv=notrunc status=none
(cd "$store/mail" && sha256sum --quiet -c "$work/manifest" >"$work/failed" 2>/dev/null) && complain 'not seen'
expect_equal "$(cat "$work/failed")" 'example.com/user/joe/INBOX/0000000001.eml: FAILED'

run export --format jsonl joe@example.com
expect_status 0
expect_json 'rows[0]["type"] == "store" and rows[0]["directory"] == "example.com/user/joe"' \
  "rows[-1] == {\"type\": \"end\", \"messages\": $messages}" \
  'sum(row["type"] == "message" for row in rows) == rows[-1]["messages"]' \
  '[row["name"] for row in rows if row["type"] == "mailbox" and row["name"] == "Back\\slash"]' \
  '[row for row in rows if row.get("path") == "Back\\slash/0000000001.eml"][0]["keywords"] == ["Blue"]' \
  '[row for row in rows if row.get("path") == "Back\\slash/0000000001.eml"][0]["flags"] == ["\\Seen"]'

for wrong in 'manifest a b' 'export joe@example.com' 'export --format mbox' 'export --format jsonl a b'; do
  # shellcheck disable=SC2086 # words
  run $wrong
  expect_status 64
  expect_one_error
done
run manifest nobody@example.com
expect_status 66
expect_no_out
status=0
mailstore manifest >/dev/full 2>"$work/err" || status=$?
expect_status 74
