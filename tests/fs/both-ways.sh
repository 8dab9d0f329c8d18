#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore does the same through a mount as on the store itself: every command runs on two copies of
# one store, on one directly and on the other through its mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

direct=$work/direct
input=/dev/null
order='cat'

# What differs between two runs of the same command: where the store is, when it was and how long it took.
plain() {
  sed -E -e "s#($direct|$store|$mnt)#STORE#g" \
    -e 's/ in [0-9.:]+( s)?;/ in T;/; s/, [0-9.:]+( s)?\)/, T)/' \
    -e 's/[0-9]{8}T[0-9]{6}Z(-[0-9a-f]+)?/STAMP/g' -e 's/ [0-9.]+ s  / T  /' \
    -e 's/\b1[0-9]{9}\b/VALIDITY/g; s/ [0-9]{14} / TIME /; s/process [0-9]+/process PID/g' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}Z?/TIME/g' "$1" | $order
}

# both ARGS... runs mailstore with these on both; leaves $status and $err of the second.
both() {
  local first=0
  printf '%s\n' "$@" >>"$work/ran"
  mailstore -s "$direct" "$@" <"$input" >"$work/first.out" 2>"$work/first.err" || first=$?
  status=0
  mailstore -s "$mnt" "$@" <"$input" >"$work/second.out" 2>"$work/second.err" || status=$?

  err=$(plain "$work/second.err")
  [ "$first" -eq "$status" ] || complain_here "exit codes $first and $status: $*: $err"
  diff <(plain "$work/first.out") <(plain "$work/second.out") || complain_here "output: $*"
  diff <(plain "$work/first.err") <(plain "$work/second.err") || complain_here "errors: $*"
}

# both_end STATUS ARGS...: the same, and how it ends.
both_end() {
  local wanted=$1
  shift
  both "$@"
  [ "$status" -eq "$wanted" ] || complain_here "exit code $status, not $wanted: $*: $err"
}

make_sample_store
mailstore -q mailbox create --special-use '\Sent' joe@example.com/Sent 'ann@example.com/100% sure' \
  joe@example.com/INBOX/Deep/er
mailstore -q mailbox unsubscribe joe@example.com/Sent
mailstore -q flag joe@example.com 1 +Seen '+Label1'
cp -a "$store" "$direct"
start -f -o worker=off

# The queue. (First, for what runs through a mount always is a job, and gets a number.)
both_end 0 queue
both_end 0 queue add repair joe@example.com
both_end 0 queue add repair joe@example.com
both_end 0 queue add cleanup --age 0 joe@example.com/INBOX ann@example.com
both_end 0 --json queue add reset -n
both_end 0 queue
both_end 0 --json queue
both_end 0 jobs
both_end 0 --json jobs
both_end 0 jobs 2
both_end 0 jobs cancel 3
both_end 69 jobs cancel 3
both_end 0 queue remove 2
both_end 69 queue remove 4 2
both_end 66 queue remove 99
both_end 66 jobs cancel 99
both_end 64 jobs cancel one
both_end 66 jobs 99
both_end 64 queue add flag joe@example.com
both_end 64 queue add expunge
both_end 66 queue add repair nobody@example.com
both_end 0 work --until-empty
both_end 0 jobs
both_end 0 jobs 1
both_end 0 --json jobs -F 1

# Looking.
both_end 0 -v list
for command in list 'mailbox list'; do
  for names in '' joe@example.com example.com 'Other Users/joe@example.com/inbox' joe@EXAMPLE.com; do
    for options in '' -r --json; do
      # shellcheck disable=SC2086 # the options are several words, or none
      both_end 0 $command $options ${names:+"$names"}
    done
  done
done
both_end 0 list -l
both_end 0 list -l joe@example.com/INBOX
both_end 0 mailbox list --subscribed
both_end 0 list example.com/user/joe/INBOX
both_end 0 cat joe@example.com 1
both_end 0 cat joe@example.com/INBOX 2
both_end 66 cat joe@example.com 99
both_end 0 parts joe@example.com 1
both_end 0 parts joe@example.com 1 header.txt
both_end 64 cat joe@example.com none
both_end 66 cat joe@example.com/None 1
both_end 66 cat example.com 1
both_end 66 list nobody@example.com
both_end 66 list $'a\tb'
both_end 0 manifest
both_end 0 manifest joe@example.com/Lists
both_end 0 export --format jsonl
both_end 0 export --format jsonl ann@example.com
both_end 64 export
both_end 0 --json manifest
both_end 0 damage
both_end 0 --json damage joe@example.com/INBOX
both_end 66 damage nobody@example.com
both_end 66 manifest nobody@example.com
both_end 0 report

both_end 0 search from:orders
both_end 0 search -r 'since:2000 -flag:seen' joe@example.com/INBOX
both_end 0 --json search body:e
both_end 1 search -p subject:nothing-like-that
both_end 64 search form:ann
both_end 66 search from:a nobody@example.com

# Running commands.
both_end 0 text
both_end 0 text joe@example.com
both_end 0 check
both_end 0 check --full joe@example.com
both_end 0 --json check
both_end 0 test
both_end 0 -v test joe@example.com
both_end 0 check -u joe example.com INBOX Lists
both_end 0 check full joe@example.com joe@example.com/INBOX
printf 'joe@example.com\nann@example.com/100%% sure\n' >"$work/list"
both_end 0 check --from-file "$work/list"
input=$work/list both_end 0 check --from-file -
both_end 0 verify
both_end 0 -q verify
both_end 0 reconstruct -n -r joe@example.com
both_end 0 reconstruct joe@example.com/INBOX ann@example.com
both_end 0 repair
both_end 0 cleanup --age 0
both_end 0 purge --age 0
both_end 64 check --nonsense
both_end 64 check ''
both_end 64 cleanup --age soon joe@example.com
both_end 64 expunge
both_end 66 check joe@example.com nobody@example.com
both_end 66 check $'bad\xffname@example.com'
both_end 0 reset joe@example.com/Lists
both_end 0 recover joe@example.com
both_end 0 checkpoint
both_end 66 jobs resume 99

# Small changes.
both_end 0 flag joe@example.com 1:3 +Flagged -Seen +Work
both_end 0 --json flag joe@example.com 2,4 =Answered
both_end 64 flag joe@example.com 1 Seen
both_end 64 flag joe@example.com 1 '+\Nonsense'
both_end 66 flag joe@example.com 99 +Seen
both_end 66 flag nobody@example.com 1 +Seen
both_end 66 copy joe@example.com 1,3 ann@example.com
both_end 0 copy joe@example.com 1,3 joe@example.com/Sent
both_end 0 --json copy joe@example.com/INBOX 2:4 'ann@example.com/100% sure'
both_end 0 move joe@example.com/Lists '*' joe@example.com/INBOX
both_end 66 move joe@example.com 99 ann@example.com
both_end 66 copy joe@example.com 1 nobody@example.com
both_end 64 copy joe@example.com one ann@example.com
both_end 0 --json mailbox create --special-use '\Drafts' joe@example.com/wait 'joe@example.com/a "b" ü'
both_end 73 mailbox create joe@example.com/wait
both_end 64 mailbox create --special-use '\Nonsense' joe@example.com/Other
both_end 0 mailbox rename joe@example.com/wait joe@example.com/tag=now/--
both_end 73 mailbox rename joe@example.com/Lists joe@example.com/Receipts
both_end 66 mailbox rename joe@example.com/None joe@example.com/Some
both_end 0 mailbox unsubscribe joe@example.com/Lists joe@example.com/Receipts
both_end 0 mailbox subscribe joe@example.com/Lists
both_end 0 mailbox set --special-use none joe@example.com/Sent
both_end 0 mailbox set --index off ann@example.com
both_end 64 mailbox set joe@example.com/Sent
both_end 0 list -l
both_end 0 --json list
both_end 73 mailbox remove joe@example.com/tag=now
both_end 0 mailbox remove -r joe@example.com/tag=now
both_end 66 mailbox remove joe@example.com/tag=now
both_end 0 quarantine
both_end 0 --json quarantine list
for site in "$direct" "$mnt"; do
  stamp=$(mailstore -s "$site" --json quarantine | sed 's/.*"path":"\([^"]*\)".*/\1/')
  expect mailstore -s "$site" quarantine restore "$stamp"
done
both_end 66 quarantine restore 20260101T000000Z-00000000/nothing
both_end 64 quarantine remove x
both_end 0 expunge --uid 1 joe@example.com/INBOX
both_end 0 undelete --uid 1 joe@example.com/INBOX
both_end 0 list
both_end 0 --json list joe@example.com/INBOX

# Lost and found.
both_end 0 expunge --uid 1 joe@example.com/INBOX
both_end 0 lost
both_end 0 --json lost list expunged
lost=$(mailstore -s "$direct" lost list expunged | sed 's/ .*//;q')
both_end 0 lost show "$lost"
both_end 0 lost restore "$lost"
both_end 66 lost restore --to joe@example.com/INBOX "$lost"
both_end 66 lost remove --force "$lost"
both_end 64 lost remove --force nothing/x

# Snapshots.
both_end 0 snapshot
both_end 0 snapshot take one
both_end 73 snapshot take one
both_end 64 snapshot take latest
both_end 0 --json snapshot take 'a b/c %41'
both_end 0 snapshot take
both_end 0 flag joe@example.com 2 +Later
both_end 0 move joe@example.com/INBOX 5 joe@example.com/Receipts
both_end 0 mailbox rename joe@example.com/Lists joe@example.com/Old/Lists
both_end 0 snapshot
both_end 0 --json snapshot list one
both_end 0 snapshot list --brief latest
both_end 66 snapshot list nowhere
both_end 1 snapshot diff one
both_end 1 --json snapshot diff 'a b/c %41' joe@example.com/Lists
both_end 0 snapshot diff one 'a b/c %41'
both_end 66 snapshot diff one nowhere
for name in one 'a b/c %41' latest; do
  both_end 0 --snapshot "$name" list
  both_end 0 --snapshot "$name" list -l
  both_end 0 --snapshot "$name" --json list joe@example.com/INBOX
  both_end 0 --snapshot "$name" cat joe@example.com/INBOX 5
  both_end 0 --snapshot "$name" parts joe@example.com/INBOX 5
  both_end 0 --snapshot "$name" mailbox list -r joe@example.com
  both_end 0 --snapshot "$name" manifest
  both_end 0 --snapshot "$name" --json manifest
  both_end 0 --snapshot "$name" search -p since:1990
  both_end 0 --snapshot "$name" export --format jsonl
  both_end 66 --snapshot "$name" list joe@example.com/Old
  both_end 73 --snapshot "$name" mailbox create joe@example.com/New
done
both_end 66 --snapshot nowhere list
both_end 64 --snapshot one check
both_end 0 snapshot rename one two
both_end 66 snapshot rename one three
both_end 66 --snapshot one list
both_end 0 snapshot drop two 'a b/c %41'
both_end 66 snapshot drop two latest

# What wants the store itself uses the one that is mounted.
both_end 73 init
both_end 0 import --format eml "$sample" new@example.com
input=$sample/01-welcome.eml both_end 0 --json deliver joe@example.com
both_end 64 deliver
both_end 0 cat --damaged joe@example.com 2
run -s "$direct" export --bagit "$work/bag"
both_end 0 verify-bag "$work/bag"
rm "$work/bag/data/example.com/user/joe/INBOX/0000000001.eml"
both_end 1 --json verify-bag "$work/bag"
both_end 66 verify-bag "$work/none"
for site in "$direct" "$mnt"; do
  printf 'backup\nrestore\n' >>"$work/ran"
  run -s "$site" backup "$work/backup-${site##*/}"
  expect_status 0
  run -s "$site" restore "$work/backup-${site##*/}" joe@example.com
  expect_status 0
  expect_err 'restore: '
done

# What a mount is doing, a store does not tell.
for site in "$direct" "$mnt"; do
  echo top >>"$work/ran"
  run -s "$site" top --once
  expect_status 0
done

# A timeline is of the files themselves, which are others in each store.
echo timeline >>"$work/ran"
expect_equal "$(mailstore -s "$mnt" timeline | sha256sum)" "$(mailstore -s "$store" timeline | sha256sum)"

# Every command was run both ways.
while read -r command; do
  grep -qx -- "$command" "$work/ran" || complain_here "not tested: $command"
done < <(mailstore -h | sed -n '/^Commands:/,$s/^  \([a-z-]*\) .*/\1/p')

# All that went through the mount.
expect [ "$(grep -c '"tag":"mailstore-' "$mnt/.ctl/audit")" -gt 25 ]
stop

# Findings, more than the queue keeps, and damage.
for number in {1..300}; do
  printf 'From joe Thu Jan  1 00:00:00 2026\nSubject: %s\n\nText\n\n' "$number"
done >"$work/many.mbox"
mailstore -q import --format mbox "$work/many.mbox" many@example.com
rm -r "$direct"
cp -a "$store" "$direct"
for copy in "$store" "$direct"; do
  inbox=$copy/mail/example.com/user/joe/INBOX
  printf X | dd of="$inbox/0000000002.eml" bs=1 seek=100 conv=notrunc status=none
  touch -d 2026-01-01 "$inbox/0000000002.eml"
  rm "$inbox/0000000003.eml" "$copy"/mail/example.com/user/many/INBOX/*[02-9].eml
  chmod 600 "$copy"/mail/example.com/user/many/INBOX/*.eml
done
start -f -o worker=off
both_end 0 list -l joe@example.com/INBOX
both_end 0 --json list joe@example.com/INBOX
both_end 1 check
both_end 1 --json check --full many@example.com
[ "$(wc -l <"$work/second.out")" -gt 256 ] || complain_here 'not more than 256 findings'
order='sort' # threads find them in any
both_end 1 -q check --full joe@example.com
both_end 0 damage
both_end 0 damage joe@example.com/INBOX
both_end 0 --json damage many@example.com
both_end 74 cat joe@example.com 2
both_end 0 cat --damaged joe@example.com 2
both_end 1 repair --dry-run --permissions many@example.com
both_end 1 repair --permissions many@example.com
both_end 1 verify
order='cat'
allow_log 'bytes that were delivered'
stop

# Only the mount can be seen, as in a container: what wants the store itself says so.
inside() {
  status=0
  # shellcheck disable=SC2016 # for the other shell
  unshare --mount bash -c 'mount -t tmpfs tmpfs "$1" && shift && exec "$@"' - "$store" \
    mailstore -s "$mnt" "$@" <"$input" >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out")
  err=$(<"$work/err")
}
rm -r "$store" "$direct"
make_sample_store
cp -a "$store" "$direct"
start -f
for words in 'list -l' 'list --json joe@example.com/INBOX' 'mailbox list' 'cat joe@example.com 1' \
  'manifest' 'queue' 'quarantine'; do
  # shellcheck disable=SC2086 # they are several
  inside $words
  expect_status 0
  # shellcheck disable=SC2086 # they are several
  mailstore -s "$direct" $words >"$work/first.out"
  expect_equal "$(plain "$work/out")" "$(plain "$work/first.out")" "$words"
done
inside check
expect_status 0
expect_err 'check: 3 mailboxes, 8 messages'
inside reconstruct --force joe@example.com
expect_status 0
inside jobs
expect_out 'reconstruct force  joe@example.com'
input=$sample/01-welcome.eml
for words in 'deliver joe@example.com' 'work --once' 'cat --damaged joe@example.com 1' \
  "backup $work/backup" "restore $work/backup" "import --format eml $sample joe@example.com"; do
  # shellcheck disable=SC2086 # they are several
  inside $words
  expect_status 69
  expect_err 'wants the store itself'
  expect_one_error
done
input=/dev/null
inside -q list nobody
expect_status 66
stop

# Ctrl-C ends the job. Whoever looks at a terminal sees how far it is.
mailstore -q deliver --create zoe@example.com <"$sample/01-welcome.eml" >"$work/out"
rm -r "$direct"
cp -a "$store" "$direct"
start -f -o worker=off
hold
mailstore -s "$mnt" reset >"$work/out" 2>"$work/err" &
stopped=$!
until [[ $(mailstore jobs) == *' running '*' reset '* ]]; do sleep 0.05; done
kill -TERM "$stopped"
until [[ $(cat "$mnt/.ctl/jobs/last/log") == *'asked to end'* ]]; do sleep 0.05; done
release
status=0
wait "$stopped" || status=$?
err=$(<"$work/err")
expect_status 143
expect_err 'reset was cancelled'
expect_equal "$(<"$mnt/.ctl/jobs/last/state")" cancelled
hold
SHELL=/bin/bash script -qec "stty cols 100; mailstore -s $mnt reconstruct --force -r" "$work/raw" \
  >"$work/out" </dev/null &
shown=$!
until grep -q '/s' "$work/raw" 2>"$work/err"; do sleep 0.05; done
release
wait "$shown"
expect grep -qE 'reconstruct.* [0-9]+/[0-9]+ messages  [0-9]+/s' "$work/raw"
expect grep -q 'reconstruct: 4 mailboxes, 9 messages' "$work/raw"
stop

# Nothing can be asked for through a mount that is read-only; but who only looks may do so in the store.
start -f -o ro
both_end 0 list -l
both_end 0 check
both_end 0 reconstruct -n
both_end 0 snapshot
both_end 66 snapshot diff nowhere
for words in 'reconstruct' 'queue add repair' 'jobs cancel 1' 'work --once' 'deliver joe' 'snapshot take'; do
  # shellcheck disable=SC2086 # they are several
  run -s "$mnt" $words
  expect_status 73
  expect_err "$mnt is mounted read-only"
  expect_one_error
done
inside check
expect_status 69
inside list
expect_status 0
stop

# A mount that keeps attributes, or itself, to itself.
start -f -o xattrs=none
both_end 0 list
both_end 0 check
run -s "$mnt" list -l
expect_status 69
expect_err 'xattrs'
run -s "$mnt" list joe@example.com/INBOX
expect_status 69
stop
chmod 755 "$work"
start -f -o allow_other
status=0
as_nobody mailstore -s "$mnt" list >"$work/out" 2>"$work/err" || status=$?
out=$(<"$work/out")
err=$(<"$work/err")
expect_status 77
expect_one_error
expect_no_out
stop
nobody=$(id -u nobody)
start -f -o "allow_other,uid=$nobody,gid=$(id -g nobody),worker=off"
for words in 'list -l' 'check' 'flag joe@example.com 1 +Seen' 'cat joe@example.com 1' 'queue add repair'; do
  status=0
  # shellcheck disable=SC2086 # they are several
  as_nobody mailstore -s "$mnt" $words >"$work/out" 2>"$work/err" || status=$?
  err=$(<"$work/err")
  expect_status 0
done
expect grep -q "\"uid\":$nobody,.*\"flag\|\"uid\":$nobody,.*'flag'" "$mnt/.ctl/audit"
stop

# What is no mount with a control directory is told as such.
start -f -o ctldir=.mailfs
expect_equal "$(mailstore -s "$mnt" --ctldir .mailfs list)" "$(mailstore -s "$direct" list)"
run -s "$mnt" list
expect_status 69
expect_err 'a mount of mailfs without the control directory'
stop
start -f -o ctl=off
run -s "$mnt" list
expect_status 69
stop
run -s "$direct" --ctldir .ctl list
expect_status 69
expect_err 'is no mount of mailfs'
