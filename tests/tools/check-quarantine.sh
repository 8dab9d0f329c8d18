#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check looks into quarantine: it tells what could not be put back, or not as it was, and mends nothing there.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com/Old/Sub >"$work/out"
mailstore -q deliver -c joe@example.com <"$sample/01-welcome.eml" >"$work/out"
printf x >"$store/mail/example.com/user/joe/INBOX/note"
mailstore -q reconstruct -r >"$work/out" || true # it tells of the note
mailstore -q purge --age 0 >"$work/out"
mailstore -q mailbox remove -r joe@example.com/Old >"$work/out"
place=$(dirname "$(find "$store/quarantine" -type d -name Old)")
old=${place#"$store/quarantine/"}/Old
message=$place/Old/Sub/0000000001.eml

# findings [WORD...] checks, told KIND PATH: exactly that was found.
findings() {
  run --json check "$@"
  grep '"type":"finding"' <<<"$out" >"$work/findings" || true
}
clean() {
  findings "$@"
  expect_status 0
  expect_equal "$(<"$work/findings")" ''
}
told() {
  expect_status 1
  expect_equal "$(wc -l <"$work/findings")" 1
  expect_json "rows[0]['problem'] == '$1' and rows[0]['outcome'] == 'left' and rows[0]['object'] == '../quarantine/$2'"
}
clean
clean --full

# Where nothing is that was taken out, nothing is listed or purged.
touch "$store/quarantine/mine"
findings
told stray mine
rm "$store/quarantine/mine"

# Not even where it is called as if, or lies among what was: then the rest is listed.
run quarantine
listed=$out
stamp=20000101T000000Z-00000000
ln -s /etc "$store/quarantine/$stamp"
findings
told stray $stamp
run quarantine
expect_status 0
expect_equal "$out" "$listed"
mailstore -q purge >"$work/out"
rm "$store/quarantine/$stamp"
mkdir "$store/quarantine/$stamp"
mkfifo "$store/quarantine/$stamp/fifo"
findings
told stray $stamp/fifo
rm -r "$store/quarantine/$stamp"

# The state of a removed mailbox; and those of its messages, and their bytes, where all is looked at.
state=$(getfattr --only-values -n user.mailfs.mailbox "$place/Old/Sub" 2>"$work/err")
setfattr -n user.mailfs.mailbox -v nonsense "$place/Old/Sub"
findings
told quarantined "$old/Sub"
run repair
expect_status 1
expect_equal "$(getfattr --only-values -n user.mailfs.mailbox "$place/Old/Sub" 2>"$work/err")" nonsense
setfattr -n user.mailfs.mailbox -v "$state" "$place/Old/Sub"
state=$(getfattr --only-values -n user.mailfs.state "$message" 2>"$work/err")
setfattr -n user.mailfs.state -v nonsense "$message"
clean
findings --full
told quarantined "$old/Sub/0000000001.eml"
setfattr -n user.mailfs.state -v "$state" "$message"
printf X | dd of="$message" bs=1 seek=3 conv=notrunc status=none
findings --full
told hash-mismatch "$old/Sub/0000000001.eml"
findings joe@example.com
expect_status 0

# A single message may lie there because of just that.
cp --preserve=xattr "$message" "$store/quarantine/$stamp.eml"
mkdir -p "$store/quarantine/$stamp/example.com/user/joe/INBOX"
mv "$store/quarantine/$stamp.eml" "$store/quarantine/$stamp/example.com/user/joe/INBOX/0000000001.eml"
findings --full
told hash-mismatch "$old/Sub/0000000001.eml"

# What may not be read.
if [ "$(id -u)" -eq 0 ]; then
  chown -R nobody: "$store"
  chmod 711 "$work"
  note=$(find "$store/quarantine" -name note)
  chmod 0 "$note" "$place/Old/Sub"
  as_nobody mailstore --json check >"$work/all" 2>"$work/err" || true
  grep io-error "$work/all" >"$work/out"
  expect_json 'sorted (row["object"] for row in rows) == '"sorted (['../quarantine/${note#"$store/quarantine/"}', '../quarantine/$old/Sub'])"
fi
