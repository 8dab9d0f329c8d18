#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a backup must not lose while mailboxes change, and what a restore must not mix up.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
for user in ann zed; do
  mailstore -q deliver -c "$user@example.com/INBOX" <"$sample/01-welcome.eml" >/dev/null
done
mailstore -q deliver -c ann@example.com/Old <"$sample/05-bounce.eml" >/dev/null
inbox=ann@example.com/INBOX

# Begins a backup, and stops it while it copies the first user's mail.
head -c 300000 /dev/zero | tr '\0' x | mailstore -q deliver -c ann@example.com/Large >/dev/null
snapshots() { compgen -G "$store/snapshots/backup-*" | wc -l || true; }
held=
leave_held() {
  local code=$?
  [ -z "$held" ] || kill -KILL "$held" 2>/dev/null || true
  leave "$code"
}
trap leave_held EXIT
# There is a part of the large message: then no lock is held that others wait for.
copies() { [ -n "$(find "$1/tmp" -type f -size +1k 2>/dev/null)" ]; }
hold() {
  for _ in {1..20}; do
    rm -rf "$1"
    mailstore -q backup --rate=100K "$1" &
    held=$!
    until copies "$1" || [ ! -e "/proc/$held" ]; do sleep 0.01; done
    ! kill -STOP "$held" || return 0
    wait "$held"
  done
  complain 'it was never stopped'
}
release() {
  kill -CONT "$held"
  wait "$held" || complain "the backup exits with $?"
  held=
  expect_equal "$(snapshots)" 0 'snapshots that were not dropped'
}

# The backup is of the moment at which it began: what is renamed, removed or cleaned up meanwhile is in it. A
# second one to the same place is refused.
mailstore -q deliver -c bob@example.com/INBOX <"$sample/01-welcome.eml" >/dev/null
hold "$work/renamed"
run backup "$work/renamed"
expect_status 75
expect_err 'another backup goes to'
mailstore -q mailbox rename ann@example.com/Old ann@example.com/New
mailstore -q mailbox remove -r bob@example.com
mailstore -q expunge --uid 1 zed@example.com/INBOX >/dev/null
mailstore -q cleanup --age 0 zed@example.com
mailstore -q deliver zed@example.com/INBOX <"$sample/02-unicode.eml" >/dev/null
release
run -s "$work/renamed" list -r --json
expect_json 'sum(row["messages"] for row in rows) == 5' 'any(row["mailbox"].endswith("/Old") for row in rows)'
run -s "$work/renamed" list --json zed@example.com/INBOX
expect_json '[row["uid"] for row in rows if "uid" in row] == [1]'
run -s "$work/renamed" check --full
expect_status 0
# The next one follows.
run backup "$work/renamed"
expect_status 0
run -s "$work/renamed" list -r --json
expect_json 'sum(row["messages"] for row in rows) == 4' 'any(row["mailbox"].endswith("/New") for row in rows)'
mailstore -q quarantine remove --force "$(ls "$store/quarantine")"

# What one that was killed leaves behind, the next one drops; but not what another one uses.
hold "$work/killed"
killed=$held
hold "$work/other"
kill -KILL "$killed"
wait "$killed" || true
run backup "$work/third"
expect_status 0
expect_equal "$(snapshots)" 1 'snapshots'
release

# Not into the store by another way.
ln -s "$store/mail" "$work/link"
run backup "$work/link/copy"
expect_status 64
[ ! -e "$store/mail/copy" ] || complain 'a backup lies in the store'

# An incomplete backup takes nothing away.
mailstore -q backup "$work/incomplete"
sed -i s/complete=true/complete=false/ "$work/incomplete/backup.conf"
mailstore -q deliver "$inbox" <"$sample/05-bounce.eml" >/dev/null
run restore --force "$work/incomplete"
expect_status 0
run list --json "$inbox"
expect_json '[row["uid"] for row in rows] == [1, 2]'

# A removed mailbox that lay in another comes back at once.
mailstore -q deliver -c ann@example.com/New/Sub <"$sample/05-bounce.eml" >/dev/null
mailstore -q mailbox remove ann@example.com/New/Sub
mailstore -q quarantine restore "$(ls "$store/quarantine")"
run list --json -r ann@example.com/New
expect_json 'len(rows) == 2'
mailstore -q work --until-empty
run check
expect_status 0
run list --json ann@example.com/New/Sub
expect_json 'len(rows) == 1'

# The store is set back and goes on: UIDs and numbers mean something else, and nothing is mixed up.
cp -a "$store" "$work/older"
mailstore -q deliver "$inbox" <"$sample/02-unicode.eml" >/dev/null
mailstore -q deliver -c ann@example.com/Secret <"$sample/05-bounce.eml" >/dev/null
mailstore -q backup "$work/newer"
rm -r "$store"
mv "$work/older" "$store"
mailstore -q deliver "$inbox" <"$sample/03-alternative.eml" >/dev/null
mailstore -q deliver -c zed@example.com/Other <"$sample/01-welcome.eml" >/dev/null
run restore -n "$work/newer"
expect_out 'here this one is another message'
run restore "$work/newer"
expect_status 0
expect_out 'here this one is another message'
run list --json "$inbox"
expect_json '[row["uid"] for row in rows] == [1, 2, 3, 4]'
run check --full
expect_status 0
run restore "$work/newer"
expect_no_out

# A time that lies far ahead is not one that lies far back.
mkdir -p "$store/quarantine/99991231T000000Z-00000000/example.com"
touch "$store/quarantine/99991231T000000Z-00000000/example.com/file"
run purge
expect_status 0
expect_no_out
