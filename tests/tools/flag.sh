#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore flag: flags and keywords of messages.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
for _ in 1 2 3; do
  mailstore deliver -c joe@example.com <"$sample/01-welcome.eml" >/dev/null
done
# Flags of all messages, in one line.
flags() {
  mailstore list --json joe@example.com/INBOX |
    python3 -c 'import json, sys; print("|".join(" ".join(json.loads(l)["flags"]) for l in sys.stdin))'
}

run flag joe@example.com/INBOX 1 +Seen
expect_status 0
expect_no_out
expect_no_err
expect_equal "$(flags)" '\Seen||'
run flag joe@example.com/INBOX 1,3 '+\Flagged' +Project-X -Seen
expect_status 0
expect_equal "$(flags)" '\Flagged Project-X||\Flagged Project-X'
run flag joe@example.com 2,3 '=\Answered' =done
expect_equal "$(flags)" '\Flagged Project-X|\Answered done|\Answered done'
run flag joe@example.com 3 +Seen =new -done
expect_equal "$(flags)" '\Flagged Project-X|\Answered done|\Seen new' '= is not done first'
run flag joe@example.com 3 =
expect_equal "$(flags)" '\Flagged Project-X|\Answered done|'
run flag --json joe@example.com 1 +deleted
expect_status 0
expect_json 'len(rows) == 1' 'rows[0]["flags"] == ["\\Deleted", "\\Flagged", "Project-X"]'
run flag joe@example.com 2:* +swept
expect_equal "$(flags)" '\Deleted \Flagged Project-X|\Answered done swept|swept'
run flag joe@example.com 3:2 -swept
run flag joe@example.com 7:9,4:100 +Seen
expect_status 0
before=$(flags)
expect_equal "$before" '\Deleted \Flagged Project-X|\Answered done|'

# One that is missing, or one bad word, and nothing changes.
run flag joe@example.com 1,9 +Draft
expect_status 66
expect_one_error
run flag joe@example.com 1 +Draft '+bad(word'
expect_status 64
expect_one_error
run flag joe@example.com 1 +Draft '+\Unknown'
expect_status 64
for word in +Recent '+\Recent' =recent + -; do
  run flag joe@example.com 1 +Draft "$word"
  expect_status 64
  expect_one_error
done
run flag joe@example.com 1 Draft
expect_status 64
run flag joe@example.com 1 --json
expect_status 64
run flag joe@example.com 1
expect_status 64
run flag joe@example.com 1, +Draft
expect_status 64
run flag joe@example.com x +Draft
expect_status 64
run flag jane@example.com 1 +Draft
expect_status 66
# More keywords than fit beside a file.
long=$(printf '+keyword-%0100d ' {1..100})
# shellcheck disable=SC2086
run flag joe@example.com 1 $long
expect_status 65
expect_one_error
expect_equal "$(flags)" "$before"

# Flags are on the file, not in the index alone.
rm -r "$store/index" "$store/mailboxes.sqlite3"
expect_equal "$(flags)" "$before" 'without the index'
