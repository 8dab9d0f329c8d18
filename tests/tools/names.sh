#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names that try to leave the store, and names that are merely odd.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
message=$sample/01-welcome.eml
touch "$work/canary"
outside() {
  find "$work" -path "$store" -prune -o -type f ! -name out ! -name err ! -name manifest -print | sort
}
before=$(outside)

# Each is refused, or becomes a name inside the store; never more.
for name in '../x' 'joe@../INBOX' '..@example.com' '.@example.com' 'joe@example.com/..' \
  'joe@example.com/../../../../../x' 'joe@example.com/a/../../b' '/etc/passwd' '//x' \
  'example.com/user/../../../x' 'example.com/user/joe/../../..' '%2e%2e@example.com' \
  'joe@example.com/%2e%2e/x' $'joe@example.com/a\nb' $'joe@example.com/\377\376' \
  'joe@example.com/.ctl' 'joe@example.com/.expunged' 'joe@example.com/0000000001.eml' \
  'joe@.expunged/INBOX' '../../tmp/x@example.com' 'joe@example.com/%' 'joe@example.com/con%00' ''; do
  run deliver --create "$name" <"$message"
  [ "$status" -eq 0 ] || expect_one_error
  run import --format eml "$message" "$name"
  [ "$status" -eq 0 ] || [ -n "$err" ] || complain "'$name' failed in silence"
  run list "$name"
  run reconstruct "$name"
done
expect_equal "$(outside)" "$before" 'something was written outside the store'
for entry in "$store"/* "$store"/.[!.]*; do
  case ${entry#"$store"/} in
  changes | index | jobs.lock | mail | mailboxes.sqlite3* | mailfs.conf | quarantine | queue.sqlite3* | tmp | '.[!.]*') ;;
  *) complain "$entry was written beside mail/" ;;
  esac
done
run check
expect_status 0

# A name goes in and out unchanged: 255 bytes and more, dots, percent signs, non-ASCII.
for name in '.hidden' '100%' 'a.b' 'INBOX' 'Ünïcödé 日本語' ' space ' '~tilde' "it's" '-r' "$(printf 'x%.0s' {1..300})"; do
  run deliver --create "odd@example.com/$name" <"$message"
  expect_status 0
  run list --json -r "odd@example.com/$name"
  expect_json "rows[0]['name'] == $(python3 -c 'import sys; print(ascii(sys.argv[1]))' "$name")"
done

# Links inside the store are not followed out of it.
mkdir "$work/elsewhere"
cp "$message" "$work/elsewhere/0000000001.eml"
ln -s "$work/elsewhere" "$store/mail/example.com/user/odd/linked"
ln -s "$work/canary" "$store/mail/example.com/user/odd/INBOX/0000000009.eml"
run reconstruct -m
run reconstruct -r odd@example.com
run cat odd@example.com/INBOX 9
[ "$status" -ne 0 ] || complain 'a link was followed'
run cat odd@example.com/linked 1
[ "$status" -ne 0 ] || complain 'a linked directory was followed'
run check
expect_status 1
expect_equal "$(ls -A "$work/elsewhere")" 0000000001.eml 'something was written through a link'
[ ! -s "$work/canary" ] || complain 'the canary was written to'
