#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# restore --export: what an export tells comes back to copies that have lost it, and to nothing else.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

users=$store/mail/example.com/user
mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q mailbox create joe@example.com/Lists/Sub joe@example.com/Sent
mailstore -q mailbox set --special-use '\Sent' joe@example.com/Sent
mailstore -q mailbox subscribe joe@example.com/Lists/Sub
mailstore -q deliver joe@example.com/Lists/Sub <"$sample/01-welcome.eml" >/dev/null
mailstore -q deliver joe@example.com/Lists/Sub <"$sample/01-welcome.eml" >/dev/null
mailstore -q flag joe@example.com/INBOX 2,4 +Seen +Food
mailstore -q flag joe@example.com/Lists/Sub 2 +Draft
mailstore -q expunge --uid 5 joe@example.com/INBOX >/dev/null
mailstore -q mailbox create ann@example.com
mailstore -q mailbox set --index off ann@example.com
# As of a store of long ago: what a store gives out now is never the same.
export_old() {
  mailstore export --format jsonl | python3 -c '
import re, sys
for line in sys.stdin:
    sys.stdout.write(re.sub("\"uidvalidity\":([0-9]+)", lambda found: "\"uidvalidity\":%d" % (int(found[1]) - 10**6), line))'
}
export_old >"$work/export"
cp -r --preserve=timestamps,mode "$store/mail" "$work/copy"
find "$work/copy" -name .expunged -exec rm -r {} +

# What an export tells; modseqs go on, and the figures of the export itself are its own.
facts() {
  python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    for key in ("time", "modseq", "highestmodseq", "uuid"):
        row.pop(key, None)
    print(json.dumps(row, sort_keys=True))'
}
facts <"$work/export" >"$work/facts"
now() {
  mailstore export --format jsonl | facts
}
# A store of that copy, which nobody has opened yet.
fresh() {
  rm -rf "$store"
  mailstore -q init
  cp -r --preserve=timestamps,mode "$work/copy/." "$store/mail/"
}
expect_facts() {
  now | diff "$work/facts" - >"$work/diff" || complain "other facts: $(head -n 6 "$work/diff")"
  run -q check
  expect_status 0
}

# The whole store: all of it comes back, from a file or a pipe. A dry run says so and does nothing.
fresh
run restore -n --export "$work/export"
expect_status 0
expect_out 'example.com/user/joe/INBOX  gets its UIDVALIDITY back'
run list joe@example.com/INBOX
[[ $out != *Seen* ]] || complain 'a dry run set flags'
fresh
run restore --export - < <(cat "$work/export")
expect_status 0
expect_out 'joe/INBOX/0000000004.eml  gets its flags back
'
expect_out 'joe/Lists/Sub  is subscribed to again'
expect_out 'joe/Sent  gets its special use back'
expect_out 'user/ann  has no index again'
expect_err ' brought back, '
[[ $err != *'(0 B)'* ]] || complain 'flags have no bytes'
expect_facts
run restore --export "$work/export"
expect_status 0
expect_no_out
rm -r "$store/index" "$store/mailboxes.sqlite3"
expect_equal "$(now | diff "$work/facts" - | head -n 3)" '' 'not all of it is on the files'

# Dates that the copy lost, too.
fresh
touch "$users/joe/INBOX"/*.eml
run restore --export "$work/export"
expect_out 'INBOX/0000000001.eml  gets its internal date back'
expect_facts

# Only one mailbox, or with what is below it; the others stay as they are.
fresh
run restore --export "$work/export" joe@example.com/Lists
expect_status 0
[[ $out != *Sub* && $out != *INBOX* ]] || complain 'more than was named'
run restore -r --export "$work/export" joe@example.com/Lists
expect_out 'Lists/Sub/0000000002.eml  gets its flags back'
[[ $out != *INBOX* ]] || complain 'more than was named'
run restore --export "$work/export" nobody@example.com
expect_status 66

# Mail that came meanwhile: above the next UID that there was it does no harm; below, UIDs are not what they
# were, and UIDVALIDITY stays new.
fresh
mailstore -q deliver joe@example.com/Lists/Sub <"$sample/02-unicode.eml" >"$work/uid"
expect_equal "$(<"$work/uid")" 3
mailstore -q deliver joe@example.com/INBOX <"$sample/01-welcome.eml" >"$work/uid"
expect_equal "$(<"$work/uid")" 5
run restore --export "$work/export" joe@example.com
expect_status 1
expect_out 'joe/Lists/Sub  gets its UIDVALIDITY back'
expect_out 'joe/INBOX/0000000004.eml  gets its flags back'
expect_out 'joe/INBOX  keeps its new UIDVALIDITY'
run -q check joe@example.com
expect_status 0

# What is not there, and what is another message, is told of; flags that somebody set since stay.
fresh
rm "$users/joe/INBOX/0000000001.eml"
echo more >>"$users/joe/INBOX/0000000002.eml"
rm -r "$users/joe/Sent"
mailstore -q flag joe@example.com/INBOX 4 +Answered
run restore --export "$work/export"
expect_status 1
expect_out 'INBOX/0000000001.eml  the export tells of it, but it is not there'
expect_out 'INBOX/0000000002.eml  is not the message that the export tells of'
expect_out 'INBOX/0000000004.eml  has newer flags, and keeps them'
expect_out 'user/joe/Sent  the export tells of it, but it is not there'
run list --json joe@example.com/INBOX
expect_json 'not any(r["flags"] for r in rows if r.get("uid") == 2)' \
  '[r["flags"] for r in rows if r.get("uid") == 4] == [["\\Answered"]]'
run restore --force --export "$work/export"
expect_out 'INBOX/0000000004.eml  gets its flags back'

# In a mailbox that has its UIDVALIDITY what is newer counts.
fresh
mailstore -q restore --export "$work/export" >/dev/null
mailstore -q flag joe@example.com/INBOX 2 -Seen
run restore --export "$work/export"
expect_status 0
expect_out 'INBOX/0000000002.eml  has newer flags, and keeps them'

# An export that is cut off, or makes no sense, changes nothing.
fresh
refused() {
  run restore --export "$work/bad"
  expect_status "$1"
  expect_one_error
  expect_err "$2"
}
head -n 8 "$work/export" >"$work/bad"
refused 65 'ends before its end'
head -c -20 "$work/export" >"$work/bad"
refused 65 'is cut off in line'
sed '/0000000002.eml/d' "$work/export" >"$work/bad"
refused 65 'and should of'
head -n 1 "$work/export" >"$work/bad"
python3 -c 'print("{\"type\":\"x\",\"y\":" + "[" * 1000000)' >>"$work/bad"
refused 64 'line 2: no object'
head -n 1 "$work/export" >"$work/bad"
python3 -c 'print("/*\"*/" + "[" * 1000000)' >>"$work/bad"
refused 64 'line 2: no object'
head -c 2000000 /dev/zero | tr '\0' x >"$work/bad"
refused 64 'is no export'
cat <(head -n 1 "$work/export") "$work/bad" >"$work/long"
mv "$work/long" "$work/bad"
refused 64 'line 2: it is too long'
sed 's/"uid":4,/"uid":7,/' "$work/export" >"$work/bad"
refused 64 'in no mailbox above it'
sed 's/"Food"/"Fo(od"/' "$work/export" >"$work/bad"
refused 64 'make no sense'
sed 's/"uidvalidity":[0-9]*/"uidvalidity":0/' "$work/export" >"$work/bad"
refused 64 'no UIDVALIDITY'
sed 2,5d "$work/export" | sed 1d >"$work/bad"
refused 64 'is no export'
sed 's#"path":"example.com#"path":"../..#' "$work/export" >"$work/bad"
run restore --export "$work/bad"
expect_status 1
: >"$work/bad"
refused 64 'is no export'
rm "$work/bad"
refused 66 'No such file'
run list joe@example.com/INBOX
[[ $out != *Food* ]] || complain 'a bad export set flags'

# Either a backup or an export.
run restore
expect_status 64
expect_err 'wants a directory or an export'
run restore --directory "$work" --export "$work/export"
expect_status 64

# A mount knows where its store is; and what it is told by its control directory it reads itself.
if [ -e /dev/fuse ]; then
  for way in tool control; do
    fresh
    mount_store
    message=$work/mnt/example.com/user/joe/INBOX/0000000004.eml
    stat "$message" >/dev/null
    case $way in
    tool)
      run -s "$work/mnt" restore --export "$work/export"
      expect_status 0
      ;;
    control) echo "restore export=$work/export wait" >"$work/mnt/.ctl/ctl" ;;
    esac
    # The kernel may have to look the name up once more.
    for _ in $(seq 1000); do
      flags=$(getfattr --absolute-names --only-values -n user.mailfs.flags "$message" 2>"$work/err" || true)
      [ -z "$flags" ] || break
      sleep 0.02
    done
    expect_equal "$flags" '\Seen Food'
    unmount_store
  done
fi
