#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Damaged messages: a backup keeps the whole copies that it has, and a restore tells what it cannot mend.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
inbox=$store/mail/example.com/user/joe/INBOX
backup=$work/backup
copies=$backup/mail/example.com/user/joe/INBOX
digests() { (cd "$1" && find . -name '*.eml' -exec sha256sum {} + | sort -k 2); }
overwrite() { printf '\001' | dd of="$1" bs=1 seek=150 conv=notrunc status=none; }

# Bytes overwritten, truncated, emptied, and replaced by a file without a state. One is expunged then.
mailstore -q backup "$backup"
cp -a "$store" "$work/before"
whole=$(digests "$copies")
overwrite "$inbox/0000000001.eml"
truncate -s 100 "$inbox/0000000002.eml"
truncate -s 0 "$inbox/0000000003.eml"
rm "$inbox/0000000004.eml"
head -c 5000 /dev/zero >"$inbox/0000000004.eml"
for round in first second; do
  run backup --json "$backup"
  expect_status 1
  expect_equal "$(digests "$copies")" "$whole" "the copies after the $round backup of damaged messages"
  expect_json '[row["uid"] for row in rows if row.get("outcome") == "left"] == [1, 2, 3, 4]' \
    'rows[0]["problem"] == "hash-mismatch"' \
    'rows[1]["problem"] == rows[2]["problem"] == "truncated"'
done
run backup "$backup"
expect_out 'keeps the whole copy'
run -s "$backup" check --full
expect_status 0
mailstore -q expunge --uid 1 joe@example.com/INBOX >/dev/null
run backup "$backup"
expect_status 1
expect_equal "$(digests "$copies")" "$(sort -k 2 <<<"${whole/\/0000000001/\/.expunged\/0000000001}")"
run -s "$backup" check --full
expect_status 0
run undelete --uid 1 joe@example.com/INBOX
expect_err '1 brought back ('
run backup "$backup"
expect_status 1
expect_equal "$(digests "$copies")" "$whole" 'the copies after the expunge was undone'

# Also where a rebuild knows already that they are damaged, and where there is no index.
mailstore -q reconstruct --force joe@example.com >/dev/null || true
run backup "$backup"
expect_status 1
expect_equal "$(digests "$copies")" "$whole" 'the copies after a rebuild'
run -s "$backup" check --full
expect_status 0

# They come back.
run restore -n "$backup"
expect_status 0
expect_out 'goes to quarantine'
expect_err ' messages, '
expect_err ' to bring back ('
run restore "$backup"
expect_status 0
expect_err ' brought back ('
[[ $err != *' 0 messages'* ]] || complain 'no message was counted'
expect_equal "$(digests "$inbox")" "$whole" 'the store'
run check --full
expect_status 0
run backup "$backup"
expect_status 0
expect_no_out

# Without the index, by what stands on the files.
overwrite "$inbox/0000000005.eml"
rm "$store/index/example.com/user/joe.sqlite3"
run backup "$backup"
expect_status 1
expect_out '0000000005.eml'
expect_equal "$(digests "$copies")" "$whole" 'the copies without an index'

# Nobody has looked yet; the date is what it was.
rm -r "$store"
cp -a "$work/before" "$store"
date=$(stat -c %y "$inbox/0000000001.eml")
overwrite "$inbox/0000000001.eml"
touch -d "$date" "$inbox/0000000001.eml"
run restore "$backup"
expect_status 0
expect_equal "$(digests "$inbox")" "$whole" 'the store after a silent change'

# A first backup has them as evidence, and says so each time; from there nothing can be mended.
overwrite "$inbox/0000000001.eml"
fresh=$work/fresh
for round in first second; do
  run backup "$fresh"
  expect_status 1
  expect_out 'hash-mismatch'
  expect_out "the backup has no other"
  cmp "$inbox/0000000001.eml" "$fresh/mail/example.com/user/joe/INBOX/0000000001.eml" || complain "$round: no evidence"
done
run restore "$fresh"
expect_status 1
expect_out 'the backup does not have it whole either'
newest=$(mailstore deliver joe@example.com <"$sample/01-welcome.eml")
truncate -s 20 "$inbox/$(printf %010u "$newest").eml"
run restore --json "$backup"
expect_status 1
expect_json "[row['uid'] for row in rows if row.get('outcome') == 'left'] == [$newest]" 'rows[0]["problem"] == "truncated"'
expect_equal "$(digests "$inbox" | head -n 5)" "$whole"

# What is missing comes back as the backup has it, damaged, which is told; as a new message it does not.
rm "$inbox/0000000001.eml"
mailstore -q reconstruct joe@example.com >/dev/null || true
run restore "$fresh"
expect_status 1
expect_out 'comes back as the backup has it: damaged'
mailstore -q -s "$work/other" init
mailstore -q -s "$work/other" mailbox create joe@example.com/INBOX
run -s "$work/other" restore "$fresh"
expect_status 1
expect_out 'damaged in the backup'

# No room: whose copy it is, and what to do.
if [ "$(id -u)" -eq 0 ] && mkdir "$work/small" && mount -t tmpfs -o size=1m none "$work/small" 2>/dev/null; then
  mounts+=("$work/small")
  head -c 2000000 /dev/zero | tr '\0' x | mailstore -q deliver joe@example.com >/dev/null
  run backup "$work/small/backup"
  expect_status 74
  expect_one_error
  expect_err "the backup $work/small/backup is incomplete and can be run again"
  mount -o remount,size=20m "$work/small"
  run backup "$work/small/backup"
  expect_status 1
fi

# One that was expunged since, and whose disk does not give its bytes any more: the copy is not taken away.
if [ "$(id -u)" -eq 0 ] && (unshare -m true) 2>/dev/null; then
  rm -rf "$store"
  cp -a "$work/before" "$store"
  mailstore -q backup "$work/kept" >/dev/null
  copies=$work/kept/mail/example.com/user/joe/INBOX
  whole=$(digests "$copies")
  mailstore -q expunge --uid 2 joe@example.com/INBOX >/dev/null
  # Where a process has no memory its file cannot be read.
  mount --bind "/proc/$$/mem" "$inbox/.expunged/0000000002.eml"
  mounts+=("$inbox/.expunged/0000000002.eml")
  for round in first second; do
    run backup "$work/kept"
    expect_status 1
    expect_out 'Input/output error'
    expect_equal "$(digests "$copies")" "$whole" "the copies after the $round backup of what cannot be read"
  done
  umount "$inbox/.expunged/0000000002.eml"
  run backup "$work/kept"
  expect_status 0
  expect_equal "$(digests "$copies")" "$(sort -k 2 <<<"${whole/\/0000000002/\/.expunged\/0000000002}")"
fi
