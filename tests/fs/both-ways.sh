#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore does the same through a mount as on the store itself: every command runs on two copies of
# one store, on one directly and on the other through its mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

direct=$work/direct
input=/dev/null

# What differs between two runs of the same command: where the store is, when it was and how long it took.
plain() {
  sed -E -e "s#($direct|$store|$mnt)#STORE#g" \
    -e 's/ in [0-9.:]+( s)?;/ in T;/' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}Z?/TIME/g' "$1"
}

# both ARGS... runs mailstore with these on both; leaves $status and $err of the second.
both() {
  local first=0
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
start -f

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
both_end 64 cat joe@example.com none
both_end 66 cat joe@example.com/None 1
both_end 66 cat example.com 1
both_end 66 list nobody@example.com
both_end 66 list $'a\tb'
stop
