#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A bag of messages (RFC 8493): whole for sha256sum and for a reader that knows nothing of us, damaged
# messages as they are; and verify-bag finds what is wrong with one, whoever made it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

valid() {
  python3 "$(dirname "$0")/bag.py" "$1" 2>&1 | tail -1
}

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q deliver -c "ann@example.com/100% \\sure" <"$sample/03-alternative.eml" >/dev/null
mailstore -q mailbox create joe@example.com/Empty >/dev/null

# All of the store.
run export --bagit "$work/bag"
expect_status 0
expect_no_err
expect_out ', 0 damaged'
expect_equal "$(valid "$work/bag")" valid
(cd "$work/bag" && sha256sum --quiet -c tagmanifest-sha256.txt) || complain 'sha256sum: tag files'
expect_equal "$(cd "$work/bag/data" && find . -name '*.eml' | sort)" "$(cd "$store/mail" && find . -name '*.eml' | sort)"
message=example.com/user/joe/INBOX/0000000001.eml
cmp "$work/bag/data/$message" "$store/mail/$message" || complain 'bytes differ'
expect_equal "$(stat -c %Y "$work/bag/data/$message")" "$(stat -c %Y "$store/mail/$message")"
grep -q '100%2525 ' "$work/bag/manifest-sha256.txt" || complain 'percent signs are not encoded'
expect_equal "$(wc -l <"$work/bag/export.jsonl")" "$(mailstore export --format jsonl | wc -l)"
expect_equal "$(cat "$work/bag/damaged.tsv")" ''
python3 -m json.tool "$work/bag/manifest.json" >"$work/out" || complain 'manifest.json'
run verify-bag "$work/bag"
expect_status 0
expect_out ', 0 problems'

# One user, where sha256sum reads all of it; into a directory that is there.
mkdir "$work/joe"
run --json export --bagit "$work/joe" joe@example.com
expect_status 0
expect_json 'rows[0]["type"] == "bag" and rows[0]["damaged"] == 0'
expect_equal "$(valid "$work/joe")" valid
(cd "$work/joe" && sha256sum --quiet -c manifest-sha256.txt) || complain 'sha256sum'
[ -f "$work/joe/data/INBOX/0000000001.eml" ] || complain 'not below the user'
run export --bagit "$work/joe" joe@example.com
expect_status 73
expect_one_error
run export --bagit "$work/none" nobody@example.com
expect_status 66
run export --bagit "$work/none" joe@example.com ann@example.com
expect_status 64
run export --bagit "$work/none" --format jsonl
expect_status 64

# Damage goes in as it is, is told, and the bag is whole; a snapshot's mail and evidence as well.
mailstore -q snapshot take before >/dev/null
truncate -s 10 "$store/mail/$message"
for snapshot in '' --snapshot=before --forensic; do
  rm -rf "$work/damaged"
  run ${snapshot:+"$snapshot"} export --bagit "$work/damaged"
  expect_status 0
  expect_err damaged.tsv
  expect_equal "$(valid "$work/damaged")" valid
  cmp "$work/damaged/data/$message" "$store/mail/$message" || complain 'bytes differ'
  expect_equal "$(cut -f 1 "$work/damaged/damaged.tsv")" "data/$message"
  run verify-bag "$work/damaged"
  expect_status 0
done

# What is wrong with a bag: commands that break it, and what is found then.
broken() {
  rm -rf "$work/broken"
  cp -a "$work/joe" "$work/broken"
  (cd "$work/broken" && eval "$1")
  run verify-bag "$work/broken"
  expect_status 1
  expect_out "$2"
  [ "$(valid "$work/broken")" != valid ] || complain "is valid for others: $1"
}
broken 'printf X >>data/INBOX/0000000001.eml' 'data/INBOX/0000000001.eml: has another digest'
broken 'printf X >>data/INBOX/0000000001.eml' 'Payload-Oxum'
broken 'rm data/INBOX/0000000001.eml' 'data/INBOX/0000000001.eml: No such file'
broken 'touch data/new' 'data/new: is not in manifest-sha256.txt'
broken 'echo >>bag-info.txt X: y' 'bag-info.txt: has another digest'
broken 'sed -i 1d manifest-sha256.txt' 'is not in manifest-sha256.txt'
broken 'sed -n 1p manifest-sha256.txt >>manifest-sha256.txt' 'twice'
broken 'echo nonsense >>manifest-sha256.txt' 'makes no sense'
# A line without an end is no reason to hold all of it, nor to pass over what comes behind it.
broken '(printf %064d 0; head -c 20M /dev/zero | tr "\\0" " "; echo; echo nonsense) >>manifest-sha256.txt' 'has a line of more than 12359 bytes'
expect_out 'makes no sense: nonsense'
expect_out ', 3 problems'
broken 'rm -r data' 'data: '
broken 'rm manifest-sha256.txt' 'manifest-sha256.txt: No such file'
broken 'mv data/INBOX/0000000001.eml outside; ln -s ../../outside data/INBOX/0000000001.eml' 'data/INBOX/0000000001.eml: '
broken 'rm data/INBOX/0000000001.eml; mkfifo data/INBOX/0000000001.eml' 'is no file'
broken 'echo 0000000000000000000000000000000000000000000000000000000000000000  data/../../secret >>manifest-sha256.txt' 'data/../../secret'
broken 'echo 0000000000000000000000000000000000000000000000000000000000000000  /etc/passwd >>manifest-sha256.txt' 'does not belong'
broken 'printf "%064d  data/\033[2J\n" 0 >>manifest-sha256.txt' 'data/\x1b[2J'
expect_equal "$(tr -d '\n' <"$work/out" | LC_ALL=C grep -c '[[:cntrl:]]')" 0
mkdir "$work/no"
for directory in "$work/no" "$work/missing" "$work/bag/bagit.txt"; do
  run verify-bag "$directory"
  [ "$status" -ge 64 ] || complain 'is no bag'
  expect_one_error
done
