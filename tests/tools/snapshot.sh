#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Snapshots as people use them: taken, listed, looked at, compared, renamed and dropped; and what a cleanup
# leaves and takes.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

# Of a store, or with --snapshot NAME of what it was: all that reading commands tell, but for the time, and
# what is so of the index or of messages that were gone by then.
dump() {
  mailstore "$@" --json list | sed -E 's/"(expunged|health)":[^,]*,//g'
  mailstore "$@" export --format jsonl | sed 's/"time":"[^"]*"//'
  mailstore "$@" manifest | grep -v '^# time'
}
expect_dump() {
  local name=$1
  shift
  dump "$@" >"$work/now"
  diff "$work/dump-$name" "$work/now" >"$work/diff" || complain "not as it was: $name: $(head -20 "$work/diff")"
}

# ---- taking ----
run snapshot take early
expect_status 66
mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com
mailstore -q mailbox create joe@example.com/Sent joe@example.com/Old/Deep ann@example.com
mailstore -q flag joe@example.com 1 +Seen '+Label1'
run snapshot
expect_status 0
expect_no_out
run snapshot take first
expect_status 0
expect_equal "$out" first
expect_no_err
dump >"$work/dump-first"
expect_dump first --snapshot first
expect_dump first --snapshot latest
run snapshot take first
expect_status 73
expect_one_error
for name in latest new .hidden ''; do
  run snapshot take "$name"
  expect_status 64
  expect_one_error
done
run snapshot take one two
expect_status 64

# ---- it stays as it was, whatever happens ----
mailstore -q deliver joe@example.com <"$sample/01-welcome.eml" >"$work/out"
mailstore -q flag joe@example.com 1 -Seen
mailstore -q flag joe@example.com 2 '=Flagged' '+x'
mailstore -q expunge --uid 3 joe@example.com/INBOX >"$work/out"
mailstore -q move joe@example.com/Lists '*' joe@example.com/Sent >"$work/out"
mailstore -q mailbox rename joe@example.com/Old joe@example.com/Archive/2024
mailstore -q mailbox remove joe@example.com/Receipts
mailstore -q mailbox create --special-use '\Drafts' joe@example.com/Drafts new@example.org
mailstore -q mailbox subscribe ann@example.com/INBOX
expect_dump first --snapshot first
run snapshot take 'a b/c %41'
expect_equal "$out" 'a b/c %41'
dump >"$work/dump-second"
mailstore -q cleanup --age 0 >"$work/out"
mailstore -q purge --age 0 >"$work/out"
rm -r "$store/index" "$store/mailboxes.sqlite3"
expect_dump first --snapshot first
mailstore -q reconstruct >"$work/out"
expect_dump first --snapshot first
expect_dump second --snapshot 'a b/c %41'
expect_dump second

# ---- the list ----
run snapshot --brief
expect_status 0
expect_equal "$(cut -c 22- "$work/out" | paste -sd,)" 'first,a b/c %41'
run --json snapshot list
# In the first there are 8 messages. Three of them are expunged by now, or were in what was removed.
expect_json 'len(rows) == 2' '[row["name"] for row in rows] == ["first", "a b/c %41"]' \
  'rows[0]["epoch"] < rows[1]["epoch"]' 'rows[0]["messages"] == 8' 'rows[0]["own_messages"] >= 2' \
  '0 < rows[0]["own_bytes"] < rows[0]["bytes"]' 'rows[1]["own_messages"] == 0'
run --json snapshot list --brief first
expect_json 'len(rows) == 1' 'rows[0]["bytes"] is None' 'rows[0]["taken"][-1] == "Z"'
run snapshot list first
expect_out 'ONLY HERE'
[[ $out == *' 8 '*' first' ]] || complain 'no line of the first'
run snapshot list nowhere
expect_status 66
expect_one_error

# ---- what has changed ----
run snapshot diff latest
expect_status 0
expect_no_out
run snapshot diff first
expect_status 1
expect_no_err
box=example.com/user/joe
for line in "added      $box/INBOX/0000000006.eml  " "removed    $box/INBOX/0000000003.eml  " \
  "different  $box/INBOX/0000000001.eml  flags: \\Seen Label1 -> Label1" \
  "different  $box/INBOX/0000000002.eml  flags: none -> \\Flagged x" \
  "renamed    $box/Archive/2024  was $box/Old" 'added      example.org  a domain' \
  'added      example.org/user/new  a user' 'added      example.org/user/new/INBOX  a mailbox of 0 messages' \
  "added      $box/Archive  a mailbox of 0 messages" "removed    $box/Receipts  a mailbox of 2 messages" \
  "different  example.com/user/ann/INBOX  subscribed: no -> yes"; do
  expect_out "$line"
done
[[ $out != *Deep* ]] || complain 'what lies below a renamed mailbox was not renamed'
[[ $out != *example.org/user$'  '* ]] || complain 'the directory for users goes without saying'
cp "$work/out" "$work/since"
run snapshot diff first latest
expect_status 1
diff "$work/since" "$work/out" || complain 'two snapshots differ otherwise'
run --json snapshot diff first
expect_json 'len(rows) == len(open("'"$work/since"'").readlines())' 'all(row["type"] == "finding" for row in rows)' \
  '{row["problem"] for row in rows} == {"added", "removed", "renamed", "different"}'
# The other way round it is the opposite.
run snapshot diff latest first
expect_status 1
expect_out "removed    $box/INBOX/0000000006.eml"
expect_out "renamed    $box/Old  was $box/Archive/2024"
expect_out "different  $box/INBOX/0000000001.eml  flags: Label1 -> \\Seen Label1"

# A mailbox is named as it is called on either side, and compared once.
run snapshot diff first joe@example.com/Old
expect_status 1
expect_equal "$out" "renamed    $box/Archive/2024  was $box/Old"
run snapshot diff first joe@example.com/Archive
expect_equal "$(wc -l <"$work/out")" 2
run snapshot diff first latest joe@example.com/INBOX joe@example.com joe@example.com/INBOX
expect_equal "$(sort "$work/out" | uniq -d)" ''
[[ $out != *ann* ]] || complain 'ann was not named'
run snapshot diff first ann@example.com/INBOX joe@example.com/Receipts
expect_equal "$(wc -l <"$work/out")" 2
run snapshot diff first joe@example.com/Sent
[[ $out == "added      $box/Sent/"*"bytes" ]] || complain 'what was moved there is not told'
for names in nowhere 'first nowhere' 'first latest nobody@example.com'; do
  # shellcheck disable=SC2086 # they are several
  run snapshot diff $names
  expect_status 66
  expect_one_error
done
run snapshot diff
expect_status 64

# ---- looking ----
run --snapshot first cat joe@example.com 3
expect_status 0
diff "$sample/03-alternative.eml" "$work/out" || complain 'not the message of then'
run cat joe@example.com 3
expect_status 66
run list --snapshot=first joe@example.com/Receipts
expect_status 0
expect_equal "$(wc -l <"$work/out")" 3
run --snapshot first report
expect_status 0
expect_out '8 messages'
run --snapshot first verify
expect_status 0
expect_err 'verify: 7 mailboxes, 8 messages'
run --snapshot nowhere list
expect_status 66
expect_one_error
for words in 'check' 'work --once' 'queue' 'reconstruct' 'flag joe@example.com 1 +Seen' 'snapshot take x'; do
  # shellcheck disable=SC2086 # they are several
  run --snapshot first $words
  expect_status 64
  expect_one_error
done
run --snapshot first mailbox create joe@example.com/More
expect_status 73
expect_one_error

# ---- renaming and dropping; what only one of them keeps goes with it ----
run snapshot rename first 'a b/c %41'
expect_status 73
expect_err 'there is a snapshot '
run snapshot rename nowhere somewhere
expect_status 66
run snapshot rename first latest
expect_status 64
run snapshot rename first
expect_status 64
mailstore snapshot rename first monday
expect_dump first --snapshot monday
run --snapshot first list
expect_status 66
kept=$store/mail/$box/INBOX/.expunged/0000000003.eml
[ -e "$kept" ] || complain 'cleanup took what a snapshot has'
run snapshot drop monday nowhere
expect_status 66
run snapshot
[[ $out != *monday* ]] || complain 'it is still there'
[ -e "$kept" ] || complain 'dropping a snapshot removes no mail by itself'
run cleanup --age 0
expect_status 0
[ ! -e "$kept" ] || complain 'cleanup left what nothing needs'
expect_dump second --snapshot latest
run snapshot drop 'a b/c %41'
expect_status 0
expect_err 'next cleanup'
[ ! -e "$store/history" ] || complain 'without a snapshot there is no history'
run check
expect_status 0

# ---- without a name ----
run snapshot take
expect_status 0
[[ $out =~ ^20[0-9]{6}T[0-9]{6}Z ]] || complain 'not named after the time'
first=$out
run --json snapshot take
expect_json 'rows[0]["name"] != "'"$first"'"' 'rows[0]["type"] == "snapshot"'
