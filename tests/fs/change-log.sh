#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whatever somebody does to the file of notes, the mount lives and sees the changes that follow.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f -o worker=off
log=$store/changes
message=$store/mail/example.com/user/joe/INBOX/0000000001.eml
kept() {
  [ "$(stat -c %z "$inbox/0000000001.eml")" == "$(stat -c %z "$message")" ]
}
round=0
change() {
  local name
  for name in a b c; do
    mailstore flag joe@example.com 1 "+$name$round"
  done
  round=$((round + 1))
  within 20000 kept
  expect cmp "$inbox/0000000001.eml" "$message"
}
change
cp "$log" "$work/earlier"
change

: >"$log"
change
cp "$work/earlier" "$log"
change
rm "$log"
change
mv "$log" "$work/moved"
change
head -c 200000 /dev/urandom >"$log"
change
truncate -s 2G "$log"
change
rm "$log"
mkfifo "$log"
change
rm -f "$log"
ln -s mailfs.conf "$log"
change
expect mailstore -q check
rm -f "$log"
mkdir "$log"
sleep 0.3
rmdir "$log"
change

# Writers of a store that is nobody's: the file is the store's owner's.
expect_equal "$(stat -c %U:%a "$log")" "$(stat -c %U "$store"):640"
stop
