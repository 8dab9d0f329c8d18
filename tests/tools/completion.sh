#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Completion in bash: of commands, options, words, files, mailboxes and UIDs, as a line is typed.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

library=/usr/share/bash-completion/bash_completion
[ -e "$library" ] || skip 'no bash-completion'

cat >"$work/complete" <<'BASH'
# complete LINE: what bash would offer at its end, one a line. Bash breaks words at COMP_WORDBREAKS, and
# leaves quoted ones together; so do we, for what is typed here.
source "$1"
source "$2/contrib/completion/mailstore"
source "$2/contrib/completion/mailfs"
COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
COMP_LINE=$3 COMP_POINT=${#3} COMP_TYPE=9 COMP_KEY=9
mapfile -t COMP_WORDS < <(python3 -c '
import re, sys
line = sys.argv[1]
words = re.findall(r"""(?:"[^"]*"?|\x27[^\x27]*\x27?|\\.|[^\s=:@"\x27\\])+|[=:@]+""", line)
print("\n".join(words + [""] * (line[-1] == " " and line[-2] != "\\")))' "$3")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_"${3%% *}"
printf '%s\n' "${COMPREPLY[@]}"
BASH

# What is offered for the line, sorted, on one line.
offered() {
  bash --norc "$work/complete" "$library" "$MAILFS_SOURCE" "$1" 2>"$work/err" | sort | paste -sd ' '
  [ ! -s "$work/err" ] || cat "$work/err"
}
expect_offer() {
  local line=$1
  shift
  expect_equal "$(offered "$line")" "$*" "$line"
}
# Among others.
expect_among() {
  local line=$1 words word
  shift
  words=$(offered "$line")
  for word; do
    [[ " $words " == *" $word "* ]] || complain "'$line' does not offer $word: $words"
  done
}

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com
mailstore -q import --format eml "$sample" jane@example.com/Work
mailstore mailbox create 'joe@example.com/Lists/My own' example.com/shared/News 'joe@example.com/.dot'

# ---- commands and options are those that there are ----
mapfile -t commands < <(mailstore -h | sed -nE '/^Commands:/,/^$/s/^  ([a-z-]+) .*/\1/p')
expect_among 'mailstore ' "${commands[@]}" help
expect_offer 'mailstore rec' reconstruct recover
expect_offer 'mailstore -s /nowhere --json rese' reset
expect_offer 'mailstore help rec' reconstruct recover
for command in "${commands[@]}"; do
  mapfile -t options < <(mailstore "$command" -h | sed -nE 's/^  (-., )?(--[a-z-]+=?).*/\2/p')
  expect_among "mailstore $command --" "${options[@]}"
done
expect_offer 'mailstore import --format=m' maildir mbox mboxrd
expect_offer 'mailstore import --format m' maildir mbox mboxrd
expect_offer 'mailstore mailbox set --index ' off on text
expect_offer 'mailstore mailbox create --special-use=' $'\\\\All \\\\Archive \\\\Drafts \\\\Flagged \\\\Important \\\\Junk \\\\Sent \\\\Trash none'

# ---- words ----
expect_offer 'mailstore mailbox s' set subscribe
expect_offer 'mailstore quarantine ' list remove restore
expect_offer 'mailstore queue ' add remove
expect_offer 'mailstore queue add rese' reset
expect_offer 'mailstore queue add im' ''
expect_among 'mailstore reconstruct ' dry-run force mailbox-list recursive
expect_offer 'mailstore reconstruct dry' dry-run
expect_offer 'mailstore cleanup ag' age=
expect_offer 'mailstore queue add cleanup ag' age=
expect_offer 'mailstore list dry' ''

# ---- files ----
mkdir "$work/dir"
touch "$work/file"
expect_offer "mailstore -s $work/d" "$work/dir/"
expect_offer "mailstore init $work/d" "$work/dir/"
expect_offer "mailstore import --format eml $work/f" "$work/file"
expect_offer "mailstore check --from-file=$work/f" "$work/file"
expect_offer "mailstore backup $work/d" "$work/dir/"

# ---- mailboxes: what stands before an @ is not offered again ----
expect_among 'mailstore list ' example.com joe@example.com jane@example.com
expect_offer 'mailstore list ja' jane@example.com jane@example.com/Work
expect_offer 'mailstore list joe@' example.com 'example.com/.dot' example.com/INBOX example.com/Lists example.com/Receipts
expect_offer 'mailstore check -r joe@example.com/Li' example.com/Lists 'example.com/Lists/My\ own'
expect_offer 'mailstore check -r joe@example.com/Lists/My\ ' 'example.com/Lists/My\ own'
expect_offer 'mailstore check -r "joe@example.com/Lists/M' 'joe@example.com/Lists/My own'
expect_offer 'mailstore check example.com/user/joe/R' example.com/user/joe/Receipts
expect_offer 'mailstore list example.com/shared/' example.com/shared/News
expect_offer 'mailstore queue add repair joe@example.com/R' example.com/Receipts
expect_offer 'mailstore cat nobody@' ''
expect_offer 'mailstore -s /nowhere list jo' ''
MAILSTORE=/nowhere expect_offer "mailstore -s $store list joe@example.com/R" example.com/Receipts
MAILSTORE=/nowhere expect_offer "mailstore --store=$store list joe@example.com/R" example.com/Receipts

# ---- UIDs and flags ----
expect_offer 'mailstore cat joe@example.com/Receipts ' 1 2
expect_offer 'mailstore flag example.com/user/joe/Receipts 2' 2
expect_offer 'mailstore flag joe@example.com 1 +S' +Seen
expect_offer 'mailstore flag joe@example.com 1 +Seen -De' -Deleted
expect_offer 'mailstore copy joe@example.com 1 jane@example.com/Work/R' example.com/Work/Receipts
expect_offer 'mailstore cat joe@example.com 1 ' ''

# ---- what waits, and what lies in quarantine ----
mailstore -q reconstruct # a job that has ended
id=$(mailstore queue add check joe@example.com)
expect_offer 'mailstore jobs cancel ' "$id"
expect_offer 'mailstore queue remove ' "$id"
expect_among 'mailstore jobs ' cancel resume "$id"
mailstore -q mailbox remove -r jane@example.com/Work
stamp=$(basename "$store"/quarantine/*)
expect_among 'mailstore quarantine restore ' "$stamp/example.com/user/jane/Work/"

# ---- snapshots ----
expect_offer 'mailstore snapshot ' diff drop list rename take
expect_offer 'mailstore snapshot drop ' ''
mailstore -q snapshot take nightly >"$work/out"
mailstore -q snapshot take 'a b/c' >"$work/out"
expect_offer 'mailstore snapshot drop ' 'a\ b/c' nightly
expect_offer 'mailstore snapshot drop nightly n' nightly
expect_offer 'mailstore snapshot rename ni' nightly
expect_offer 'mailstore snapshot rename nightly ' ''
expect_offer 'mailstore snapshot take ' ''
expect_offer 'mailstore --snapshot n' nightly
expect_offer 'mailstore list --snapshot=n' nightly
expect_offer 'mailstore snapshot diff n' nightly
expect_offer 'mailstore snapshot diff nightly n' nightly
expect_offer 'mailstore snapshot diff nightly joe@example.com/R' example.com/Receipts
expect_offer 'mailstore snapshot diff nightly nightly joe@example.com/R' example.com/Receipts
expect_offer 'mailstore snapshot diff nightly nightly n' ''

# ---- hostile names are names ----
# shellcheck disable=SC2016
mailstore mailbox create 'joe@example.com/$(touch '"$work"'/pwned)' 'joe@example.com/`touch '"$work"'/pwned`'
offered 'mailstore list joe@example.com/' >"$work/out"
offered 'mailstore list joe@example.com/\$\(touch' >"$work/out"
# shellcheck disable=SC2016
offered 'mailstore -s $(touch '"$work"'/pwned) list ' >"$work/out"
[ ! -e "$work/pwned" ] || complain 'completion ran what is a name'

# ---- mailfs ----
mapfile -t options < <(mailfs -h | sed -n '/^  -o/s/^  -o \([a-z_=,A-Z]*\).*/\1/p' | tr , '\n' | sed 's/=.*/=/')
expect_among 'mailfs -o ' "${options[@]}"
expect_offer 'mailfs -o ro,ctl=' hidden off visible
expect_offer 'mailfs -o ro,ver' ro,verify=
expect_offer 'mailfs -o ctl=off,ver' off,verify=
expect_offer 'mailfs -o ro,snapshot=' latest new
expect_offer "mailfs $store $work -o ro,snapshot=n" new nightly
expect_offer 'mailfs --v' --version
expect_offer "mailfs -o ro $work/d" "$work/dir"

# ---- and all of it once with real keys ----
cat >"$work/type.py" <<'PYTHON'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(PS1='', TERM='dumb')
    os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])
def send(text):
    os.write(fd, text.encode())
def wait_for(text, seen=b''):
    while text.encode() not in seen:
        seen += os.read(fd, 4096)
    return seen
send(f'stty -echo; source {sys.argv[1]}; source {sys.argv[2]}; echo go\'\'ing\n')
wait_for('going')
send('mailstore check joe@example.com/Rec\t recur\t\001echo told: \005: end\n')
print(wait_for(': end\r\n', wait_for('told: ')).decode())
send('exit\n')
PYTHON
timeout 300 python3 -B "$work/type.py" "$library" "$MAILFS_SOURCE/contrib/completion/mailstore" >"$work/out" 2>&1 || true
grep -q '^told: mailstore check joe@example.com/Receipts recursive : end' "$work/out" ||
  complain "typed: $(cat -v "$work/out")"
