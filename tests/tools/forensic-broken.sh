#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Evidence in any state: whatever is missing, broken or something else than it should be, the mail
# is shown, and nothing is changed.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

whole=$work/whole
mailstore -q -s "$whole" init
mailstore -q -s "$whole" import --format eml "$sample" joe@example.com >"$work/out"
mailstore -q -s "$whole" mailbox create joe@example.com/Lists/Deep ann@example.com >"$work/out"
mailstore -q -s "$whole" queue add check >"$work/out"
mailstore -q -s "$whole" flag joe@example.com/INBOX 1 '+\Flagged' >"$work/out"
mailstore -s "$whole" manifest | grep -v '^#' >"$work/manifest"
mailboxes=$(mailstore -s "$whole" list)
numbers=$(cd "$whole/mail" && getfattr -R -m '^user.mailfs.(directory|user|mailbox)$' -d . | sort)
export MAILSTORE=$store

# A store as it was; copied with all that belongs to its files.
again() {
  rm -rf "$store"
  cp -a --preserve=all "$whole" "$store"
}
record() {
  find "$store" -printf '%p %y %m %s %i %n %U %G %T@ %C@ %l\n' | sort
  getfattr -R -h -d -m- "$store" 2>/dev/null
}
# shows WHAT: all mailboxes and all mail are there.
shows() {
  record >"$work/before"
  run --forensic list
  expect_status 0
  expect_equal "$out" "$mailboxes" "$1"
  run --forensic manifest
  expect_status 0
  expect_equal "$(grep -v '^#' <<<"$out")" "$(<"$work/manifest")" "$1"
  run --forensic check --full
  [ "$status" -le 1 ] || complain "check: $1"
  run --forensic report
  expect_status 0
  run --forensic queue
  run --forensic snapshot list
  record >"$work/after"
  diff "$work/before" "$work/after" || complain "it was changed: $1"
}
flagged() {
  run --forensic list joe@example.com/INBOX
  expect_out '\Flagged'
}

again
shows 'whole'
flagged

spoil() {
  case $1 in
  gone) rm -rf -- "$2" ;;
  directory) rm -rf -- "$2" && mkdir "$2" ;;
  link) rm -rf -- "$2" && ln -s /etc/passwd "$2" ;;
  fifo) rm -rf -- "$2" && mkfifo "$2" ;;
  device) rm -rf -- "$2" && mknod "$2" c 1 5 ;;
  empty) [ -d "$2" ] || : >"$2" ;;
  rubbish) [ -d "$2" ] || head -c 40000 /dev/urandom >"$2" ;;
  cut) [ ! -f "$2" ] || truncate -s "$(($(stat -c %s "$2") * 2 / 3))" "$2" ;;
  header) [ ! -f "$2" ] || dd if=/dev/zero of="$2" bs=100 count=1 conv=notrunc status=none ;;
  huge) [ -d "$2" ] || truncate -s 4T "$2" ;;
  esac
}
ways=(gone directory link fifo empty rubbish cut header huge)
[ "$(id -u)" -ne 0 ] || ways+=(device)
for name in mailfs.conf mailboxes.sqlite3 queue.sqlite3 index index/example.com/user/joe.sqlite3 tmp quarantine \
  snapshots changes audit.jsonl; do
  for way in "${ways[@]}"; do
    again
    mkdir -p "$store/snapshots"
    spoil "$way" "$store/$name"
    shows "$name: $way"
    flagged
  done
done

# What is damaged is told by check, as ever.
again
spoil header "$store/index/example.com/user/joe.sqlite3"
run --forensic check
expect_status 1
expect_out 'rows of it are salvaged'

# All of it at once, on what was copied without attributes: the list tells the numbers, the index
# the flags.
rm -rf "$store"
cp -r "$whole" "$store"
shows 'without attributes'
flagged
rm -rf "$store/index" "$store/mailboxes.sqlite3" "$store/mailfs.conf"
shows 'nothing but mail'

# Numbers that two have, and one that is the highest there is.
again
cp -a "$store/mail/example.com/user/joe/Lists" "$store/mail/example.com/user/joe/Twin"
cp -a "$store/mail/example.com/user/joe" "$store/mail/example.com/user/jim"
setfattr -n user.mailfs.mailbox -v '1 16777215 7 1 1 0 - -' "$store/mail/example.com/user/ann/INBOX"
run --forensic --json list
expect_json 'len (rows) == 13' 'len ({row["path"] for row in rows}) == 13'
expect_equal "$(find "$store/mail" -name '*.eml' | wc -l)" "$(mailstore --forensic -q manifest | grep -vc '^#')"

# What else may lie there.
again
mkdir "$store/lost+found" "$store/mail/lost+found"
ln -s /etc "$store/mail/example.com/user/eve"
mkfifo "$store/mail/example.com/user/joe/INBOX/0000000077.eml"
ln -s /etc/passwd "$store/mail/example.com/user/joe/INBOX/0000000078.eml"
mkdir "$store/mail/example.com/user/joe/INBOX/0000000079.eml"
rm -rf "$store/mail/example.com/user/joe/INBOX/0000000079.eml"
shows 'links and FIFOs'

# What may not be read is listed, and told.
if [ "$(id -u)" -eq 0 ]; then
  again
  chmod -R o+rX "$store"
  chmod o+rx "$work"
  chmod 700 "$store/mail/example.com/user/joe/Lists" "$store/queue.sqlite3" "$store/index/example.com/user"
  chmod 000 "$store/mail/example.com/user/joe/INBOX/0000000001.eml"
  record >"$work/before"
  as_nobody mailstore --forensic list >"$work/out" 2>"$work/err" || complain "not listed: $(<"$work/err")"
  out=$(<"$work/out")
  expect_out 'joe@example.com/Lists'
  grep -q 'joe/Lists.*Permission denied' "$work/err" || complain "not told: $(<"$work/err")"
  expect_equal "$(as_nobody mailstore --forensic -q --json list joe@example.com/Lists)" ''
  as_nobody mailstore --forensic -q --json list joe@example.com/INBOX >"$work/out" || complain 'not listed'
  expect_equal "$(grep -c . "$work/out")" "$(find "$store/mail/example.com/user/joe/INBOX" -name '*.eml' | wc -l)"
  as_nobody mailstore --forensic -q manifest >"$work/out" 2>"$work/err" || true
  record >"$work/after"
  diff "$work/before" "$work/after" || complain 'it was changed'
fi

# What is no store is said so; and a work directory must not lie in it.
run -s "$work" --forensic list
expect_status 64
expect_err 'has no directory mail'
run --forensic --workdir "$store/tmp" list
expect_status 64
expect_equal "$numbers" "$(cd "$whole/mail" && getfattr -R -m '^user.mailfs.(directory|user|mailbox)$' -d . | sort)"

# What is lost of an index is its own damage: no message is told of for it, but where its row is gone. An older
# index tells of an older state.
index=$store/index/example.com/user/joe.sqlite3
no_mismatch() {
  run --json --forensic check --full
  expect_json 'not [row for row in rows if row.get("problem") in ("changed", "state-mismatch", "summary-mismatch") and row["uid"]]'
  run --forensic damage joe@example.com/INBOX
  expect_equal "$(grep -c 'state-mismatch' <<<"$out")" 0
}
again
for ((page = 1; page < $(stat -c %s "$index") / 4096; page++)); do
  cp "$whole/${index#"$store/"}" "$index"
  dd if=/dev/zero of="$index" bs=4096 seek="$page" count=1 conv=notrunc status=none
  no_mismatch
done
again
cp "$index" "$index.broken-0"
mailstore -q flag joe@example.com/INBOX 2 '+\Flagged' >"$work/out"
mailstore -q expunge --uid 3 joe@example.com/INBOX >"$work/out"
rm "$index"
no_mismatch
run --json --forensic check
expect_json '"bad-index" in [row.get("problem") for row in rows]'
