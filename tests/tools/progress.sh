#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The progress bar: on a terminal and nowhere else, plain with NO_COLOR, and gone afterwards.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mkdir "$work/source"
for i in $(seq 5000); do
  printf 'Subject: message %d\n\n%d\n' "$i" "$i" >"$work/source/$i.eml"
done

# Runs a command on a terminal of its own, 100 columns wide; what it wrote is in $work/typescript.
on_terminal() {
  SHELL=/bin/bash script -qec "stty cols 100; $*" "$work/raw" >/dev/null </dev/null
  sed 1d "$work/raw" >"$work/typescript"
}

# The same, while somebody else holds joe's lock, so that no disk is through before the bar comes.
on_terminal_held() {
  local shown
  rm -f "$work/raw"
  hold
  on_terminal "$@" &
  shown=$!
  until grep -q '/s' "$work/raw" 2>/dev/null || ! kill -0 "$shown" 2>/dev/null; do sleep 0.05; done
  release
  wait "$shown"
}

# Where no bar is to come there is nothing to wait for but the time that it would take.
hold_lock() {
  flock "$store/mail/example.com/user/joe" -c "touch '$work/held'; sleep 1" &
  until [ -e "$work/held" ]; do sleep 0.01; done
  rm "$work/held"
}

mailstore -q init
echo 'Subject: the first' | mailstore -q deliver --create joe@example.com >/dev/null
on_terminal_held mailstore import --format eml "$work/source" joe@example.com
grep -q $'\033' "$work/typescript" || complain 'no colour on a terminal'
grep -q '5000 imported' "$work/typescript" || complain 'no summary'
# Every line that was drawn fits the terminal, and is blank in the end.
python3 - "$work/typescript" <<'PYTHON' || complain 'the bar'
import re, sys
text = open(sys.argv[1], encoding='utf-8', newline='').read()
plain = re.sub('\033\\[[0-9;]*m', '', text)
drawn = [piece for piece in plain.split('\r') if re.search(r'\d/s', piece)]
assert drawn, 'nothing was drawn'
assert any(re.search(r'import \[#*-*\] +\d+ %  \d+/5000 messages  \d+/s', piece) for piece in drawn), drawn
assert all(len(piece) < 100 for piece in drawn)
assert re.search(r'\r +\r[^\r]*5000 imported', plain), 'the bar was left behind'
PYTHON

mailstore -q init "$work/two"
echo 'Subject: the first' | mailstore -q -s "$work/two" deliver --create joe@example.com >/dev/null
store=$work/two on_terminal_held NO_COLOR=1 mailstore -s "$work/two" import --format eml "$work/source" joe@example.com
grep -qE '[0-9]/s' "$work/typescript" || complain 'no bar with NO_COLOR'
grep -q $'\033' "$work/typescript" && complain 'colour despite NO_COLOR'

mailstore flag joe@example.com 1 +Seen
on_terminal_held mailstore reconstruct --force -r
grep -qE '[0-9]/s' "$work/typescript" || complain 'no bar for reconstruct'
grep -q '5001 messages' "$work/typescript" || complain 'no summary of reconstruct'
hold_lock
on_terminal mailstore -q reconstruct --force -r
grep -qE '[0-9]/s' "$work/typescript" && complain 'a bar despite -q'
wait

# Not on a terminal: nothing but the summary.
hold_lock
run reconstruct --force -r
expect_status 0
expect_equal "$(wc -l <"$work/err")" 1
