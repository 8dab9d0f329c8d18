#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What every command of mailstore has in common: options, finding the store, exit codes.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

run
expect_status 64
expect_one_error
run frobnicate
expect_status 64
expect_one_error
expect_err "no command 'frobnicate'"
run --frobnicate
expect_status 64
expect_one_error
run list --frobnicate
expect_status 64
expect_one_error
expect_err 'mailstore list -h'

run -h
expect_status 0
expect_no_err
for command in init import deliver list cat flag check reconstruct reset snapshot; do
  expect_out "$command"
done
run reconstruct -h
expect_status 0
expect_out --recursive
expect_out --user
# Operands as they must be given, and what --force does where it is dangerous.
for command in expunge undelete; do
  run "$command" -h
  expect_out '] MAILBOX...'
done
for command in backup restore; do
  run "$command" -h
  expect_out '] DIR [-u USER]'
done
expect_out '--force'
expect_out 'DANGER'
run reconstruct -h
expect_out 'do not trust what looks unchanged'
# The manual says of each command's dry run what the command says.
for command in check test checkpoint backup; do
  run "$command" -h
  [[ $out != *--dry-run* ]] || complain 'has a dry run by now: the manual says that it has not'
done
for command in repair reconstruct reset recover restore cleanup purge expunge undelete; do
  run "$command" -h
  expect_out '-n, --dry-run'
  expect_out '-r, --recursive'
done
run -V
expect_status 0
expect_out mailstore

# No store, and directories that are none.
run list
expect_status 66
expect_one_error
mkdir "$work/plain"
run -s "$work/plain" list
expect_status 64
expect_one_error
expect_err "$work/plain"
run -s "$sample/01-welcome.eml" list
expect_status 64
expect_one_error

# -s before and after the command, -f, $MAILSTORE.
mailstore -q init
run -s "$store" list
expect_status 0
run list -s "$store"
expect_status 0
MAILSTORE=$work/nowhere run -f "$store/mailfs.conf" list
expect_status 0
MAILSTORE='' run -s "$store" list
expect_status 0
expect_no_err
run -v list
expect_err "$store"
(cd "$work" && run -s store list && expect_status 0 && [ "$failures" -eq 0 ]) || failures=1

# A store of a later format is left alone.
cp -a "$store" "$work/newer"
sed -i -E 's/^(format|version|format-version)( *= *)1$/\1\22/I' "$work/newer/mailfs.conf"
if cmp -s "$store/mailfs.conf" "$work/newer/mailfs.conf"; then
  complain 'mailfs.conf has no format version to raise'
fi
before=$(find "$work/newer" | sort)
for command in 'list' 'check' 'reconstruct' 'reset' 'deliver --create joe'; do
  # shellcheck disable=SC2086
  run -s "$work/newer" $command <"$sample/01-welcome.eml"
  expect_status 69
  expect_one_error
done
expect_equal "$(find "$work/newer" | sort)" "$before" 'a newer store was touched'

# Output that cannot be written is an error.
run deliver --create joe <"$sample/01-welcome.eml"
expect_status 0
for command in 'list' 'list -l' 'cat joe 1' '--json check'; do
  status=0
  # shellcheck disable=SC2086
  err=$(mailstore $command 2>&1 >/dev/full) || status=$?
  expect_status 74
done
status=0
err=$(mailstore list 2>&1 >&-) || status=$?
[ "$status" -ne 0 ] || complain 'a closed standard output was taken for success'
# A reader that leaves early is none: the signal ends the program as it does others.
mailstore list -h | head -1 >/dev/null || complain 'head ended the pipe with an error'

# Nor is it an error where that signal is ignored.
mkfifo "$work/pipe"
exec 8<>"$work/pipe"
exec 9>"$work/pipe" 8>&-
status=0
(trap '' PIPE && mailstore list -h 2>"$work/err" >&9) || status=$?
expect_status 141
exec 9>&-
expect_equal "$(<"$work/err")" ''
run -f "$store" list
expect_status 64
expect_err 'a file is wanted'

# A store that one may not open.
chmod 755 "$work"
chmod 700 "$store"
status=0
err=$(as_nobody mailstore -s "$store" list 2>&1) || status=$?
expect_status 77
[[ $err == 'mailstore: '* ]] || complain 'no reason given'

# help is -h.
mailstore -h >"$work/expected"
run help
expect_status 0
cmp -s "$work/out" "$work/expected" || complain 'another help'
for command in list check queue; do
  mailstore "$command" -h >"$work/expected"
  run help "$command"
  expect_status 0
  cmp -s "$work/out" "$work/expected" || complain "another help for $command"
done
run help nosuch
expect_status 64
