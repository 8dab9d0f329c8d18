#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is taken for a mount of mailfs may be anything: nothing that it tells goes to the terminal as it
# is, and what makes no sense is an error.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

fake=$work/fake
mkdir -p "$fake/.ctl/jobs/7" "$fake/.ctl/config" "$fake/example.com/user/joe/INBOX"
echo 'mailfs 9.9 abi 1' >"$fake/.ctl/version"
echo / >"$fake/.ctl/config/store"
echo none >"$fake/.ctl/config/uuid"
: >"$fake/.ctl/queue"
run -s "$fake" queue
expect_status 0
cat >"$fake/.ctl/jobs/7/report.json" <<'JSON'
{"id": 7, "state": "done", "action": "check\u001b[2J", "error": "\u001b[2J", "log": "a\u001b[2J\nb\n", "unit": "\u001b",
 "findings": [{"problem": "nul", "outcome": "noted", "object": "\u001b[2Jx", "detail": "\u001b[2Jy"}, {}]}
JSON
run -s "$fake" jobs 7
expect_status 0
[[ $out != *$'\033'* && $out == *'\x1b[2Jx'* ]] || complain 'not printable'
run -s "$fake" --json jobs 7
expect_json 'len(rows) == 3'
run -s "$fake" jobs 8
expect_status 66
for report in '' 'x' '[]' '{"id": []}' 'null' '{"findings": 3}' '{"findings": [3]}'; do
  echo "$report" >"$fake/.ctl/jobs/7/report.json"
  run -s "$fake" jobs 7
  [[ $status -lt 128 && $err != *CRITICAL* ]] || complain "not expected: $report"
done
echo x >"$fake/.ctl/jobs/7/report.json"
run -s "$fake" jobs
expect_status 69
expect_one_error

# Nobody answers what is written there, and what a mailbox has is not told.
: >"$fake/.ctl/ctl"
: >"$fake/.ctl/audit"
run -s "$fake" check joe@example.com
expect_status 69
expect_err 'the mount did not tell'
rm "$fake/.ctl/audit"
run -s "$fake" check
expect_status 66
run -s "$fake" list -l
expect_status 69
expect_err 'does not tell its'
run -s "$fake" import --format eml "$sample" joe@example.com
expect_status 69
expect_err 'wants the store itself'

echo 'mailfs 9.9 abi 2' >"$fake/.ctl/version"
run -s "$fake" list
expect_status 69
expect_err 'newer mailfs'
