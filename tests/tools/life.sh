#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The life of a message after its delivery: expunge, undelete, cleanup, purge.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
inbox=$store/mail/example.com/user/joe/INBOX
uids() {
  mailstore list --json joe@example.com/INBOX |
    python3 -c 'import json, sys; print(*sorted(json.loads(line)["uid"] for line in sys.stdin))'
}

# Without a mailbox, with a wrong set, or with a UID that is not there nothing happens.
before=$(cd "$store/mail" && find . -printf '%p %i %s %T@ %C@\n' | sort)
run expunge
expect_status 64
expect_one_error
run expunge --uid 0 joe@example.com/INBOX
expect_status 64
run expunge --uid 1,77 joe@example.com/INBOX
expect_status 66
expect_err '77'
run check --uid 1 joe@example.com/INBOX
expect_status 64
# UIDs are those of one mailbox.
for verb in expunge undelete; do
  for many in 'joe@example.com' 'joe@example.com/INBOX joe@example.com/Lists'; do
    # shellcheck disable=SC2086 # words
    run $verb --uid 1 $many
    expect_status 64
    expect_err '--uid wants one mailbox'
  done
done
run expunge joe@example.com/INBOX
expect_status 0
expect_no_out
expect_equal "$(cd "$store/mail" && find . -printf '%p %i %s %T@ %C@\n' | sort)" "$before" 'nothing to do'

# What has \Deleted, or what is named; a dry run says so and does nothing.
all=$(uids)
mailstore flag joe@example.com/INBOX 2,4 +Deleted +Work
run expunge --json -n joe@example.com/INBOX
expect_status 0
foreseen=$out
expect_json 'sum(r["size"] for r in rows[:-1]) == rows[-1]["taken_bytes"]' 'rows[-1]["taken"] == 2' \
  'all(r["outcome"] == "taken" and r["problem"] == "deleted" and r["remedy"] is None for r in rows[:-1])'
expect_equal "$(uids)" "$all"
run expunge --json joe@example.com/INBOX
expect_status 0
expect_equal "$out" "$foreseen"
expect_equal "$(uids)" '1 3 5'
run check
expect_status 0
run list -l joe@example.com
expect_out INBOX
run list --json joe@example.com
expect_json 'next(r for r in rows if r["name"] == "INBOX")["expunged"] == 2' \
  'next(r for r in rows if r["name"] == "INBOX")["messages"] == 3'
run expunge uid=3:* joe@example.com/INBOX
expect_status 0
expect_err '2 taken'
expect_equal "$(uids)" '1'
run check --full
expect_status 0

# And back: without \Deleted, with everything else.
run undelete --uid 2,5 joe@example.com/INBOX
expect_status 0
expect_equal "$(uids)" '1 2 5'
run list --json joe@example.com/INBOX
expect_json 'rows[1]["flags"] == ["Work"]'
run undelete --uid 2 joe@example.com/INBOX
expect_status 66
cp -a "$inbox/.expunged/0000000003.eml" "$inbox/0000000003.eml"
run undelete joe@example.com/INBOX
expect_status 1
expect_out 'duplicate-uid'
expect_out '0000000003.eml'
expect_equal "$(uids)" "$all"
rm "$inbox/.expunged/0000000003.eml"
mailstore -q reconstruct joe@example.com/INBOX >/dev/null || true
run check --full
expect_status 0

# What was expunged long ago is removed; a dry run tells the same.
mailstore -q expunge --uid 2,5 joe@example.com/INBOX >/dev/null
run cleanup
expect_status 0
expect_no_out
expect_err '0 left'
run cleanup --json -n --age 0 joe@example.com/INBOX
expect_status 0
foreseen=$out
cp -a "$inbox/.expunged/0000000002.eml" "$work/old.eml"
run cleanup --json age=0 joe@example.com/INBOX
expect_status 0
expect_equal "$out" "$foreseen"
expect_json 'rows[-1]["taken"] == 2' '[r["problem"] for r in rows[:-1]] == ["expunged"] * 2' \
  'sum(r["size"] for r in rows[:-1]) == rows[-1]["taken_bytes"] > 0'
expect_equal "$(find "$inbox/.expunged" -type f | wc -l)" 0
run cleanup --age 1y
expect_status 64
expect_one_error
run list --json joe@example.com
expect_json 'next(r for r in rows if r["name"] == "INBOX")["expunged"] == 0'
run check --full
expect_status 0
run undelete joe@example.com/INBOX
expect_status 0
expect_err '0 left'

# An old file of one that was removed is no new message.
cp -a "$work/old.eml" "$inbox/0000000002.eml"
run check
expect_status 1
expect_out 'expunged-back'
run reconstruct
expect_status 0
expect_equal "$(uids)" '1 3 4'
run undelete --uid 2 joe@example.com/INBOX
expect_equal "$(uids)" '1 2 3 4'
run check
expect_status 0
mailstore -q deliver joe@example.com/INBOX <"$sample/05-bounce.eml" >/dev/null

# What belongs nowhere goes to quarantine and comes back; a dry run tells the same before.
echo stray >"$inbox/note.txt"
run purge
expect_status 1
expect_out 'nothing of this user is purged'
mailstore -q reconstruct >/dev/null || true
run purge
expect_status 0
expect_no_out
run purge --json -n --age 0
expect_status 0
foreseen=$out
run purge --json --age 0
expect_status 0
expect_equal "$out" "$foreseen"
expect_json 'rows[0]["problem"] == "stray"' 'rows[0]["size"] == 6' 'rows[-1]["taken_bytes"] == 6'
run quarantine
expect_status 0
expect_out /example.com/user/joe/INBOX/note.txt
run quarantine list --json
expect_json 'len(rows) == 1' 'rows[0]["size"] == 6' 'not rows[0]["directory"]' 'rows[0]["since"].endswith("Z")'
path=$(sed 's/.*"path":"\([^"]*\)".*/\1/' "$work/out")
echo taken >"$inbox/note.txt"
run quarantine restore "$path"
expect_status 73
expect_one_error
rm "$inbox/note.txt"
run quarantine restore "$path"
expect_status 0
expect_equal "$(cat "$inbox/note.txt")" stray
mailstore -q reconstruct >/dev/null || true
run purge age=0 -q
expect_status 0
run quarantine --json
stamp=$(sed 's/.*"path":"\([^/]*\).*/\1/' "$work/out")
run quarantine remove "$stamp"
expect_status 64
run quarantine remove --force "$stamp" nothing
expect_status 66
run quarantine
expect_no_out
run quarantine restore ../mail
expect_status 66
# An age is for what goes into quarantine, not for what lies in it. What is listed can be restored as it is listed.
mailstore mailbox create joe@example.com/Old
mailstore deliver joe@example.com/Old <"$sample/01-welcome.eml" >/dev/null
mailstore -q mailbox remove joe@example.com/Old
run purge --age 0 -q joe@example.com
expect_status 0
expect_no_out
run purge --age 0 -q
expect_status 0
run quarantine
path=${out##* }
[[ $path == */user/joe/Old/ ]] || complain 'purge removed a mailbox for good'
run quarantine restore "$path"
expect_status 0
mailstore -q reconstruct >/dev/null
expect_equal "$(mailstore list --json joe@example.com/Old | wc -l)" 1
mailstore -q mailbox remove joe@example.com/Old
run quarantine remove --force "$(mailstore quarantine | sed 's/.* //')"
expect_status 0
run quarantine
expect_no_out
run quarantine throw
expect_status 64
run check
expect_status 0

# Another system emptied an index and then removed every message that was not in it.
files=$(cd "$store/mail" && find . -type f | sort)
mailstore -q reset
run purge --age 0
expect_status 1
expect_out 'nothing of this user is purged'
expect_equal "$(cd "$store/mail" && find . -type f | sort)" "$files" 'purge lost something'
mailstore -q reconstruct >/dev/null
run purge --age 0
expect_status 0
expect_equal "$(cd "$store/mail" && find . -type f | sort)" "$files" 'purge lost something'

# The mount shows it within a second.
mount_store
mounted=$work/mnt/example.com/user/joe/INBOX
stat "$mounted"/*.eml >/dev/null
mailstore -q expunge --uid 1:3 joe@example.com/INBOX >/dev/null
for _ in {1..300}; do
  [ -e "$mounted/0000000002.eml" ] || [ -e "$mounted/0000000001.eml" ] || break
  sleep 0.1
done
expect_equal "$(cd "$mounted" && echo ./*.eml)" './0000000004.eml ./0000000006.eml'
mailstore -q undelete joe@example.com/INBOX >/dev/null
for _ in {1..300}; do
  [ ! -e "$mounted/0000000002.eml" ] || break
  sleep 0.1
done
expect_equal "$(cd "$mounted" && find . -name '*.eml' | wc -l)" 5
unmount_store

# Where more is kept than `cleanup.size`, a cleanup is queued for when it is old enough, and once.
mailstore -q init "$work/small"
mailstore -q -s "$work/small" import --format eml "$sample" joe@example.com >/dev/null
printf '\n[cleanup]\nsize=1\nage=24h\n' >>"$work/small/mailfs.conf"
mailstore -q -s "$work/small" expunge --uid 1 joe@example.com/INBOX >/dev/null
run -s "$work/small" --json queue
expect_no_out
for uid in 2 3; do
  mailstore -q -s "$work/small" expunge --uid $uid joe@example.com/INBOX >/dev/null
done
run -s "$work/small" work --until-empty
expect_status 0
run -s "$work/small" --json queue
expect_json 'len(rows) == 1' 'rows[0]["action"] == "cleanup"' 'rows[0]["state"] == "waiting"' 'rows[0]["due"] > rows[0]["created"]'
run -s "$work/small" queue
expect_out 'not before'
sed -i 's/^age=24h/age=0/' "$work/small/mailfs.conf"
mailstore -q -s "$work/small" queue remove "$(mailstore -s "$work/small" queue | sed -n 's/^\([0-9]*\) .*/\1/p')"
mailstore -q -s "$work/small" expunge --uid 4 joe@example.com/INBOX >/dev/null
run -s "$work/small" work --until-empty
expect_status 0
expect_equal "$(find "$work/small" -path '*/.expunged/*.eml' | wc -l)" 0 'not cleaned up'
