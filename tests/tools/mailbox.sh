#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore mailbox: make, rename, remove and set mailboxes.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore deliver -c joe@example.com <"$sample/01-welcome.eml" >/dev/null
mail=$store/mail/example.com/user/joe

# Everything that stays when a mailbox is renamed.
facts() {
  mailstore list -r --json "$1" | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    print(*(row[key] for key in ("messages", "unseen", "uidvalidity", "uidnext", "highestmodseq", "health")))'
}
number() {
  getfattr --absolute-names --only-values -n user.mailfs.mailbox "$mail/$1" | cut -d' ' -f2
}
clean() {
  run check
  [ "$status" -eq 0 ] || complain 'the store is not clean'
}

# ---- create
run mailbox create joe@example.com/Work joe@example.com/A/B/C
expect_status 0
expect_no_out
expect_no_err
run mailbox create --json --special-use '\sent' joe@example.com/Sent
expect_status 0
expect_json 'len(rows) == 1' 'rows[0]["special_use"] == "\\Sent"' 'rows[0]["messages"] == 0'
run mailbox create joe@example.com/Work
expect_status 73
expect_one_error
run mailbox create example.com
expect_status 73
run mailbox create example.com/elsewhere/joe
expect_status 64
# What only a typo can be.
for typo in 'joe@exa mple.com' joe@example..com joe@.com joe@example. $'joe@exa\tmple.com' joe@exa%2Fmple.com \
  'exa mple.com/user/joe' joe@example.com/. joe@example.com/.. joe@example.com/A/%2E .@example.com; do
  run mailbox create "$typo"
  expect_status 64
  expect_one_error
  expect_err "cannot be the name of a "
done
expect_equal "$(find "$store/mail" -mindepth 1 -maxdepth 1)" "$store/mail/example.com"
run mailbox create --special-use '\Rubbish' joe@example.com/Odd
expect_status 64
expect_one_error
run mailbox list -r joe@example.com/Odd
expect_status 66
run mailbox create 'Public Folders/News@example.com' 'Other Users/ann@example.com'
expect_status 0
run mailbox
expect_status 64
run mailbox frobnicate joe@example.com
expect_status 64
run mailbox create
expect_status 64
run mailbox rename joe@example.com/Work
expect_status 64
run mailbox remove ''
expect_status 64
clean

# ---- names that mean something to others
# shellcheck disable=SC2016 # as they stand
for name in '$(x) %41, "y"' "it's; a=b" '--' '1' 'recursive' 'of=joe'; do
  run mailbox create --json "joe@example.com/$name"
  expect_status 0
  expect_json 'len(rows) == 1'
  mailstore deliver "joe@example.com/$name" <"$sample/01-welcome.eml" >/dev/null
  run copy "joe@example.com/$name" 1 "joe@example.com/$name 2"
  expect_status 66
  run mailbox rename "joe@example.com/$name" "joe@example.com/$name 2"
  expect_status 0
  run copy joe@example.com 1 "joe@example.com/$name 2"
  expect_equal "$out" 2 "$name"
  run mailbox remove "joe@example.com/$name 2"
  expect_status 0
done
for name in force recursive; do
  run mailbox create "$name"
  expect_status 0
  run flag -- "$name" 1:* +Seen
  expect_status 0
  run mailbox remove -r "$name"
  expect_status 0
done
mailstore mailbox remove local
rm -r "$store/quarantine"/*

# ---- list, subscribe, set
run mailbox subscribe joe@example.com/Work 'Public Folders/News@example.com'
expect_status 0
run mailbox list joe@example.com
expect_equal "$out" '-           -           joe@example.com/A
-           -           joe@example.com/INBOX
-           \Sent       joe@example.com/Sent
subscribed  -           joe@example.com/Work'
run mailbox list -r joe@example.com/A
expect_equal "$out" '-           -           joe@example.com/A
-           -           joe@example.com/A/B
-           -           joe@example.com/A/B/C'
run mailbox list --json --subscribed
expect_json 'len(rows) == 2' 'all(row["subscribed"] for row in rows)' \
  '[row["mailbox"] for row in rows] == ["example.com/shared/News", "joe@example.com/Work"]'
run mailbox unsubscribe 'Public Folders/News@example.com'
run mailbox set --special-use none joe@example.com/Sent
expect_status 0
run mailbox set --special-use archive joe@example.com/A
expect_status 0
run mailbox set joe@example.com/A
expect_status 64
run mailbox subscribe joe@example.com
expect_status 64
run mailbox subscribe joe@example.com/Nowhere
expect_status 66
listed=$(mailstore mailbox list)
expect_equal "$(grep -c subscribed <<<"$listed")" 1
# These facts are on the directories; the list is made of them.
rm "$store/mailboxes.sqlite3"
expect_equal "$(mailstore mailbox list)" "$listed"
mailstore mailbox subscribe joe@example.com/Work
clean

# ---- rename
for name in Work A/B/C; do
  mailstore deliver "joe@example.com/$name" <"$sample/02-unicode.eml" >/dev/null
done
before=$(facts joe@example.com/A)
numbers="$(number A) $(number A/B) $(number A/B/C)"
run mailbox rename joe@example.com/A joe@example.com/New/Deep/A
expect_status 0
expect_no_out
expect_no_err
expect_equal "$(facts joe@example.com/New/Deep/A)" "$before"
expect_equal "$(number New/Deep/A) $(number New/Deep/A/B) $(number New/Deep/A/B/C)" "$numbers"
run list -r joe@example.com/A
expect_status 66
run mailbox list joe@example.com/New/Deep
expect_out '\Archive'
clean
# Into itself, onto another, out of its user's reach; what is no mailbox, and INBOX.
while read -r expected old new; do
  run mailbox rename "$old" "$new"
  [ "$status" -eq "$expected" ] || complain "renaming $old to $new: $status, not $expected"
  expect_one_error
done <<'END'
64 joe@example.com/New joe@example.com/New/Sub
64 joe@example.com/New joe@example.com/New/Deep/A/B/X
73 joe@example.com/New joe@example.com/Work
73 joe@example.com/New joe@example.com/New/Deep
73 joe@example.com/New joe@example.com/New
73 joe@example.com/New joe@example.com
69 joe@example.com/New ann@example.com/New
69 joe@example.com/New nobody@example.com/New
69 joe@example.com/New example.com/shared/New
69 joe@example.com/New New
64 joe@example.com/INBOX joe@example.com/Old
64 joe@example.com/inbox joe@example.com/Old
64 joe@example.com jim@example.com
64 example.com example.org
66 joe@example.com/Nowhere joe@example.com/Old
END
clean

# ---- remove
run mailbox remove joe@example.com/New
expect_status 73
expect_one_error
run mailbox remove joe@example.com/INBOX
expect_status 64
expect_one_error
run mailbox remove -r example.com/user
expect_status 64
run mailbox remove -r example.com
expect_status 73
expect_err "'example.com/shared' is in the way"
run mailbox remove -r joe@example.com/Nowhere
expect_status 66
messages=$(count)
before=$(facts joe@example.com/New)
run mailbox remove -r joe@example.com/New
expect_status 0
expect_no_out
place=$(cd "$store/quarantine" && echo */example.com/user/joe/New)
expect_err "'mailstore quarantine restore $place' brings it back"
expect_err 'kept until 2'
[ ! -e "$mail/New" ] || complain 'the directory is still there'
run list -r joe@example.com/New
expect_status 66
expect_equal "$(count)" $((messages - 1))
clean
# Nothing is lost: it comes back as it was.
kept=("$store"/quarantine/*/example.com/user/joe/New)
expect_equal "${#kept[@]}" 1
[[ ${kept[0]} =~ /quarantine/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}/ ]] || complain "not so: ${kept[0]}"
mv "${kept[0]}" "$mail/New"
expect_equal "$(facts joe@example.com/New | cut -d' ' -f1-4)" "$(cut -d' ' -f1-4 <<<"$before")"
mailstore -q reconstruct joe@example.com >/dev/null
clean

# A user, and all shared folders of a domain.
run mailbox remove joe@example.com
expect_status 73
run mailbox remove -r joe@example.com example.com/shared
expect_status 0
expect_equal "$(find "$store" -path "*example.com*joe*" ! -path "*/quarantine/*")" ""
expect_equal "$(mailstore list)" ann@example.com/INBOX
clean
mv "$store"/quarantine/*/example.com/user/joe/INBOX/../../joe "$mail"
mailstore -q reconstruct >/dev/null
expect_equal "$(count)" "$messages"
clean
# A new user of that name is another one.
first=$(number INBOX)
mailstore mailbox remove -r joe@example.com
mailstore mailbox create joe@example.com
[ "$(number INBOX)" -gt "$first" ] || complain 'the number was used again'
clean

# A domain goes when nobody is left in it, and comes back. It says who is.
mailstore mailbox create ann@gone.example
run mailbox remove -r gone.example
expect_status 73
expect_err "'gone.example/user/ann' is in the way"
run mailbox remove -q -r ann@gone.example
expect_status 0
expect_no_err
run mailbox remove gone.example
expect_status 0
place=${err##* restore }
place=${place%"' brings"*}
expect_equal "$(mailstore list -r gone.example 2>/dev/null)" ''
[ ! -e "$store/mail/gone.example" ] || complain 'the domain is still there'
clean
run quarantine restore "$place/"
expect_status 0
[ -d "$store/mail/gone.example/user" ] || complain 'the domain did not come back'
clean

# ---- a user without an index
mailstore deliver joe@example.com <"$sample/01-welcome.eml" >/dev/null
shown=$(mailstore list --json joe@example.com/INBOX)
run mailbox set --index off joe@example.com
expect_status 0
gone() {
  expect_equal "$(find "$store/index" -name 'joe.*')" '' "$1"
}
gone 'turned off'
mailstore deliver joe@example.com <"$sample/02-unicode.eml" >/dev/null
mailstore flag joe@example.com 2 +Seen
gone 'delivered and flagged'
expect_equal "$(mailstore list --json joe@example.com/INBOX | head -n 1)" "$shown"
run list --json joe@example.com
expect_json 'all(row["health"] == "ok" for row in rows)' 'sum(row["messages"] for row in rows) == 2'
for verb in reconstruct reset; do
  run "$verb" joe@example.com
  expect_status 0
  gone "$verb"
done
clean
# The list learns it from the directory.
rm "$store/mailboxes.sqlite3"
mailstore deliver joe@example.com <"$sample/02-unicode.eml" >/dev/null
gone 'the list was made again'
run mailbox set --index on joe@example.com
expect_status 0
[ -e "$store/index/example.com/user/joe.sqlite3" ] || complain 'there is no index'
clean
for wrong in joe@example.com/INBOX example.com; do
  run mailbox set --index off "$wrong"
  expect_status 64
done
run mailbox set --index maybe joe@example.com
expect_status 64
