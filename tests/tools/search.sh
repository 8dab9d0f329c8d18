#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Looking for messages as people do: queries, what is printed, exit codes; and full-text indexes, with which
# the answers stay what they are without.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

# put MAILBOX SUBJECT BODY
put() {
  printf 'From: Ann <ann@example.org>\nTo: joe@example.com\nSubject: %s\n\n%s\n' "$2" "$3" |
    mailstore -q deliver --create "$1" >"$work/uid"
}

# found QUERY PATH...: just these messages, by the ends of their paths.
found() {
  local query=$1
  shift
  run search -p -- "$query"
  expect_status $(($# == 0))
  expect_no_err
  expect_equal "$out" "$(printf 'example.com/user/%s\n' "$@" | sed 's#/$##; /user$/d')" "$query"
}

answers() {
  found 'subject:invoice' joe/INBOX/0000000001.eml
  found 'body:"tax office"' joe/INBOX/0000000002.eml joe/Work/Old/0000000001.eml
  found '-body:tax in:joe' joe/INBOX/0000000001.eml joe/INBOX/0000000003.eml
  found 'text:invoice' jane/INBOX/0000000001.eml joe/INBOX/0000000001.eml
  found 'flag:seen' joe/INBOX/0000000002.eml
  found 'body:nothing-of-that'
}

mailstore -q init
put joe@example.com 'The invoice' 'pay it'
put joe@example.com 'Letter' 'from the tax
  office'
put joe@example.com 'Grüße' 'an alle'
put joe@example.com/Work/Old 'Old letter' 'from the TAX office'
put jane@example.com 'None' 'no invoice at all'
mailstore -q flag joe@example.com 2 +Seen

# ---- without a full-text index, and without any ----
answers
mailstore -q mailbox set --index off jane@example.com
answers

# ---- where ----
run search -p letter joe@example.com/INBOX
expect_equal "$out" example.com/user/joe/INBOX/0000000002.eml
run search -p letter joe@example.com/Work
expect_status 1
expect_no_out
run search -rp letter joe@example.com/Work
expect_equal "$out" example.com/user/joe/Work/Old/0000000001.eml
run search -p letter joe@example.com jane@example.com
expect_equal "$(wc -l <<<"$out")" 2
run search letter nobody@example.com
expect_status 66
expect_one_error

# ---- what is printed ----
run search letter
expect_status 0
expect_out joe@example.com/INBOX
expect_out joe@example.com/Work/Old
expect_out 'Old letter'
expect_equal "$(wc -l <<<"$out")" 4
run --json search 'subject:grüße'
expect_json 'len(rows) == 1'
expect_out '"subject":"Grüße"'
expect_out '"mailbox":"joe@example.com/INBOX","uid":3,'

# ---- what makes no sense ----
for query in '' 'form:ann' 'since:tomorrow' 'larger:x' '"open' 'flag:\Nope'; do
  run search -- "$query"
  expect_status 64
  expect_one_error
done
expect_err "'flag:\\Nope'"
run search
expect_status 64

# ---- full-text indexes ----
run text joe@example.com
expect_status 0
expect_out 'mailbox set --index text'
run mailbox set --index maybe joe@example.com
expect_status 64
for user in joe jane; do
  mailstore -q mailbox set --index text "$user@example.com"
done
run queue
expect_out 'text'
answers
mailstore -q work --until-empty 2>"$work/log"
text=$store/index/example.com/user/joe.sqlite3-text
[ -s "$text" ] || complain 'no full-text index was made'
run check
expect_status 0
answers

# What it rules out is not read: only without the index is what was put there by force found.
inbox=$store/mail/example.com/user/joe/INBOX
cp -a "$inbox/0000000001.eml" "$work/whole.eml"
sed -i 's/pay it/fax it/' "$inbox/0000000001.eml"
found 'body:"fax it"'
mv "$text" "$work/text"
found 'body:"fax it"' joe/INBOX/0000000001.eml
cp -a "$work/whole.eml" "$inbox/0000000001.eml"
touch -r "$work/whole.eml" "$inbox/0000000001.eml"
mailstore -q repair
mv "$work/text" "$text"

# New mail is found at once, and taken in later.
put joe@example.com 'More' 'another tax'
found 'body:"another tax"' joe/INBOX/0000000004.eml
run queue
expect_out 'text'
mailstore -q text
answers
found 'body:"another tax"' joe/INBOX/0000000004.eml

# It is a cache: whatever becomes of it, answers stay, and it is made again.
for break in 'rm' 'truncate -s 3000' 'truncate -s 0' 'cp /etc/services' 'shred -n 1'; do
  $break "$text" 2>/dev/null || cp /etc/passwd "$text"
  answers
  run check
  expect_status 0
  run text
  expect_status 0
  answers
  [ "$(stat -c %s "$text")" -gt 8192 ] || complain "not made again after $break"
done
rm "$text"
mkdir "$text"
answers
run text
expect_status 0
answers
[ -f "$text" ] || complain 'a directory in its place stays'
rm -r "$text".damaged-*

# A store that cannot be written is searched with what there is.
run --json search 'body:tax'
before=$out
find "$store" -print0 | sort -z | xargs -0 stat -c '%n %X %Y %Z %s' >"$work/before"
run --json search 'body:tax'
expect_equal "$out" "$before"
run --forensic --json search 'body:tax'
expect_equal "$out" "$before"
find "$store" -print0 | sort -z | xargs -0 stat -c '%n %X %Y %Z %s' >"$work/after"
diff "$work/before" "$work/after" || complain 'a search changes the store'

# ---- snapshots, backups, users who go ----
mailstore -q snapshot take before >"$work/out"
mailstore -q expunge --uid 2 joe@example.com/INBOX >"$work/out"
mailstore -q flag joe@example.com 1 +Flagged
found 'body:"tax office"' joe/Work/Old/0000000001.eml
run --snapshot before search -p 'body:"tax office" in:INBOX'
expect_equal "$out" example.com/user/joe/INBOX/0000000002.eml
run --snapshot before search -p 'flag:flagged'
expect_status 1
mailstore -q backup "$work/copy"
run -s "$work/copy" search -p 'body:"another tax"'
expect_status 0
run -s "$work/copy" text
expect_status 0
[ -s "$work/copy/index/example.com/user/joe.sqlite3-text" ] || complain 'a backup forgets who has a full-text index'
mailstore -q mailbox set --index on joe@example.com
[ ! -e "$text" ] || complain 'the full-text index stays behind'

# ---- what people get wrong

run search subject:invoice since:2026
expect_status 66
expect_err 'all words of a QUERY are one argument'
run search attachment:pdf
expect_status 64
expect_err 'there is no such key, as from,'
run search '-flag:seen subject:invoice'
expect_status 64
expect_err "see mailstore search -h, or write '--' before what is no option"
run search -- '-flag:seen subject:invoice'
[ "$status" -le 1 ] || complain "a query that begins with '-': $err"
run help search
expect_status 0
[[ $out == *'QUERY is one argument'* ]] || complain 'the help does not tell of queries'
