#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# checkpoint: what an interrupted write left is taken back, and it is said what was done.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
index=$store/index/example.com/user/joe.sqlite3
run checkpoint
expect_status 0
expect_out 'nothing to do'
expected=$(mailstore list --json joe@example.com/INBOX)

# A process dies in the middle of a transaction that has reached the file already.
python3 - "$index" <<'PYTHON'
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute('PRAGMA journal_mode = TRUNCATE')
connection.execute('PRAGMA cache_size = 1')
connection.execute('BEGIN')
connection.execute('UPDATE message SET flags = 31')
connection.execute("UPDATE summary SET envelope = 'x', bodystructure = hex (zeroblob (9000))")
os._exit(0)
PYTHON
[ -s "$index-journal" ] || complain 'there is no journal'
run checkpoint
expect_status 0
expect_out 'an interrupted write was taken back'
[ ! -s "$index-journal" ] || complain 'the journal is still there'
expect_equal "$(mailstore list --json joe@example.com/INBOX)" "$expected"
run checkpoint joe@example.com
expect_out 'nothing to do'

# What is broken is named, and left to recover.
dd if=/dev/urandom of="$index" bs=4096 count=1 conv=notrunc status=none
run checkpoint
expect_status 1
expect_out bad-index
[[ $out != *'nothing to do'* ]] || complain 'a broken database is nothing to do'
