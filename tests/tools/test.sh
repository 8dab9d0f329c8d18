#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test: databases opened and tested, and with -r recovered before.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore import -q --format eml "$sample" jane@example.com >/dev/null
index=$store/index/example.com/user/joe.sqlite3
listing() { (cd "$store" && find . -type f -printf '%p %i %s %T@\n' | sort); }

run test
expect_status 0
expect_no_out
expect_err '0 left'
run test -lv
expect_status 0
expect_out 'joe  sound: 3 mailboxes, 8 messages'
run --json test -v joe@example.com
expect_status 0
expect_json 'rows[0]["outcome"] == "noted"' 'rows[-1]["left"] == 0'
run test -q
expect_no_err

# Without -r nothing is changed, whatever is wrong.
dd if=/dev/urandom of="$index" bs=100 count=1 conv=notrunc status=none
before=$(listing)
run test -v
expect_status 1
expect_out 'bad-index          example.com/user/joe'
expect_out 'jane  sound'
expect_equal "$(listing)" "$before" 'a test changed files'
rm "$store/index/example.com/user/jane.sqlite3"
run test
expect_status 1
expect_out missing-index
run test jane@example.com
expect_status 1
[[ $out != *joe* ]] || complain 'another user was tested'

run test -rv
expect_status 0
expect_out '(fixed)'
expect_out 'joe  sound: 3 mailboxes, 8 messages'
expect_err 'test: 6 mailboxes, 16 messages, '
run test -r
expect_err 'test: 6 mailboxes, 16 messages, '
run test
expect_err 'test: 6 mailboxes, 16 messages, '
expect_status 0
run check
expect_status 0

# The list.
printf 'no database' | dd of="$store/mailboxes.sqlite3" conv=notrunc status=none
run test
expect_status 1
expect_out 'bad-index          ../mailboxes.sqlite3'
run test -r
expect_status 0
run test
expect_status 0

# A lock that is held: it is named who holds it. The test goes on by itself when it is let go.
mkfifo "$work/held" "$work/release"
python3 - "$store/mail/example.com/user/joe" "$work/held" "$work/release" <<'PYTHON' &
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
open(sys.argv[2], 'w').close()
open(sys.argv[3]).read()
PYTHON
holder=$!
cat "$work/held"
run test -l
expect_status 1
expect_out "locked"
expect_out "held by process $holder"
: >"$work/release"
wait "$holder"
run test -l
expect_status 0

run test nobody@example.com
expect_status 66
run test --force
expect_status 64
