# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash source-path=SCRIPTDIR
# lib.sh - what the tests with backup tools share, beside what the tests of the mount share.
#
# Every tool has to tell the same story, tell_story, of a store of 300 messages. A test names the tool's
# ways by functions:
#
#   back_up              backs $mnt up, by the call `tool COMMAND...`, which leaves $status and $said
#   back_up_all          the same, but reads every message again
#   expect_transferred N by the tool's own figures: the last run copied N messages, nothing else
#   extract DIR [RUN]    makes DIR hold the newest copy, or that of another run where there are several
#   run                  what tells the newest copy from those before
#   compare_options      what compare.py is to overlook
source "$(dirname "${BASH_SOURCE[0]}")/../fs/lib.sh"

# needs_tool COMMAND PROBE...: the machine has the tool.
needs_tool() {
  command -v "$1" >/dev/null || skip "no $1"
}
setfattr -n user.test -v 1 "$work" 2>/dev/null || skip 'the filesystem keeps no user attributes'
export XDG_CACHE_HOME=$work/cache HOME=$work/home
mkdir "$HOME"
joe=example.com/user/joe
compare_options=()
# shellcheck disable=SC2034 # for the tests
run='' said='' ways=(live snapshot)

# ---- the store -----------------------------------------------------------------------------------

# make_messages DIR FIRST LAST: message files, each of a date of its own.
make_messages() {
  mkdir -p "$1"
  python3 - "$@" <<'PYTHON'
import os, random, sys
directory, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, last + 1):
    noise = random.Random(number)
    path = os.path.join(directory, f'{number:05}.eml')
    with open(path, 'w', newline='\r\n') as file:
        file.write(f'Subject: message {number}\nMessage-ID: <{number}@example.com>\n\n')
        for _ in range(noise.randrange(1, 80)):
            file.write(f'{noise.getrandbits(256):064x}\n')
    os.utime(path, (1700000000 + number * 3600,) * 2)
PYTHON
}

# Two users and shared folders; flags and keywords, an odd name, a gap in the UIDs, an empty mailbox, a
# large message, one that is expunged.
# shellcheck disable=SC2016 # keywords begin with a dollar sign
make_mail() {
  mailstore -q init
  make_messages "$work/mail/INBOX" 1 130
  make_messages "$work/mail/INBOX/Deeper/Still" 131 170
  make_messages "$work/mail/Grüße 100%" 171 200
  head -c 1500000 /dev/zero | base64 >>"$work/mail/INBOX/00007.eml"
  touch -d @1700025200 "$work/mail/INBOX/00007.eml"
  mailstore -q import --format eml "$work/mail" joe@example.com >/dev/null
  make_messages "$work/jane/INBOX" 201 290
  mailstore -q import --format eml "$work/jane" jane@example.com >/dev/null
  mailstore -q mailbox create 'Public Folders/News@example.com' joe@example.com/Sent joe@example.com/Empty
  deliver 'Public Folders/News@example.com' 291 301
  mailstore -q mailbox subscribe joe@example.com/Empty
  mailstore -q mailbox set --special-use '\Sent' joe@example.com/Sent
  mailstore -q flag joe@example.com/INBOX 2:20 +Seen '+$Forwarded' +Work
  mailstore -q flag jane@example.com/INBOX 5 +Flagged
  mailstore -q expunge --uid 9 joe@example.com/INBOX >/dev/null
}

# deliver MAILBOX FIRST LAST: these messages, one at a time.
deliver() {
  local file
  make_messages "$work/more" "$2" "$3"
  for file in "$work"/more/*.eml; do
    mailstore -q deliver "$1" <"$file" >/dev/null
  done
  rm -r "$work/more"
}

# Every database is lost, and made again.
rebuild_everything() {
  rm -r "$store/index" "$store/mailboxes.sqlite3"
  mailstore -q reconstruct -m >/dev/null
  mailstore -q reconstruct -r >/dev/null
}

# Another byte in a message, of the same size and date.
damage() {
  python3 - "$1" <<'PYTHON'
import os, sys
info = os.stat(sys.argv[1])
with open(sys.argv[1], 'r+b') as file:
    first = file.read(1)
    file.seek(0)
    file.write(bytes([first[0] ^ 1]))
os.utime(sys.argv[1], ns=(info.st_atime_ns, info.st_mtime_ns))
PYTHON
}

# ---- the mount -----------------------------------------------------------------------------------

# A backup is of the store as it is, or of a snapshot that lasts as long as the mount.
start_for_backup() {
  case $way in
  live) start -f -o ro ;;
  snapshot) start -f -o ro,snapshot=new ;;
  esac
}

# The daemon will die of its Nth reply, counted from the mounting.
start_doomed() {
  local options=ro
  [ "$way" == live ] || options=ro,snapshot=new
  {
    strace -f -qq -o "$work/strace" -e trace=writev -e "inject=writev:signal=KILL:when=$1" \
      "$(command -v mailfs)" -f -s -o "$options" "$store" "$mnt" 2>"$work/log" || true
  } 2>/dev/null &
  daemon=$!
  until mountpoint -q "$mnt" || ! kill -0 "$daemon" 2>/dev/null; do sleep 0.01; done
}

# Takes away what is left of it. Where the kernel keeps a killed daemon waiting for itself, it is told not to.
bury() {
  local connection
  connection=$(awk -v mnt="$mnt" '$5 == mnt { sub (".*:", "", $3); print $3 }' /proc/self/mountinfo)
  [ -z "$connection" ] || { echo 1 >"/sys/fs/fuse/connections/$connection/abort"; } 2>/dev/null || true
  umount "$mnt" 2>/dev/null || true
  wait "$daemon" 2>/dev/null || true
  daemon=
  drop_snapshots
}

# What a killed daemon left.
drop_snapshots() {
  local name
  for name in "$store"/snapshots/*; do
    [ ! -e "$name" ] || mailstore -q snapshot drop "$(basename "$name")"
  done
}

# ---- the tool ------------------------------------------------------------------------------------

# tool COMMAND...: runs it, at most for two minutes; leaves $status, and all that it says in $said.
tool() {
  status=0
  timeout 120 "$@" >"$work/said" 2>"$work/said.err" </dev/null || status=$?
  said=$(tr -d '\0' <"$work/said")
  err=$(tr -d '\0' <"$work/said.err")
}

expect_ok() {
  [ "$status" -eq 0 ] || complain_here "exit status $status: $err"
}

# The copy is the store.
expect_whole() {
  local differences
  rm -rf "$work/extracted"
  extract "$work/extracted"
  differences=$(python3 -B "$MAILFS_SOURCE/tests/backup/compare.py" "${compare_options[@]}" "$store" "$work/extracted" |
    cut -c1-300 | head -n 10) || true
  [ -z "$differences" ] || complain_here "the copy differs: $differences"
}

# Mounts, backs up, unmounts; it must have copied N messages, and the copy be the store.
expect_run() {
  start_for_backup
  back_up
  expect_ok
  expect_transferred "$1"
  stop
  expect_whole
}

# Keeps what the newest copy has, for expect_kept.
remember_copy() {
  rm -rf "$work/remembered"
  remembered=$run
  extract "$work/remembered"
}

# Every message of the copy that is remembered is still there, byte for byte.
expect_kept() {
  local path lost=()
  rm -rf "$work/extracted"
  extract "$work/extracted" "$remembered"
  while IFS= read -r path; do
    cmp -s "$work/remembered/$path" "$work/extracted/$path" || lost+=("$path")
  done < <(cd "$work/remembered" && find . -name '*.eml')
  [ "$(find "$work/remembered" -name '*.eml' | wc -l)" -ge 300 ] || complain_here 'nothing is remembered'
  [ ${#lost[@]} -eq 0 ] || complain_here "lost: ${lost[*]:0:5} (${#lost[@]})"
}

# ---- the story -----------------------------------------------------------------------------------

tell_story() {
  for way in "${ways[@]}"; do
    begin
    tell_of_change
    tell_of_damage
    tell_of_death
  done
}

begin() {
  chmod -R u+w "$work/mail" 2>/dev/null || true
  rm -rf "$store" "$work/mail" "$work/jane" "$work/copy" "$work/cache"
  make_mail
  start_over
}

# What there is comes whole, once; and then what is new, whatever is rebuilt.
tell_of_change() {
  expect_run 300
  expect_run 0

  rebuild_everything
  expect_run 0
  if [ "$way" == live ]; then
    start_for_backup
    rebuild_everything
    back_up
    expect_ok
    expect_transferred 0
    stop
  fi

  deliver joe@example.com/INBOX 401 403
  expect_run 3

  # Flags are on messages that are there already.
  mailstore -q flag jane@example.com/INBOX 7:9 +Answered
  start_for_backup
  back_up
  stop
  expect_ok
  expect_whole
}

# A message that cannot be read is told of, and its good copy stays. So that a tool looks at it again
# it has a new flag; others read everything.
tell_of_damage() {
  remember_copy
  damage "$store/mail/$joe/INBOX/0000000011.eml"
  mailstore -q flag joe@example.com/INBOX 11 +Flagged || true
  allow_log '0000000011.eml'
  start_for_backup
  expect_error EIO cat "$inbox/0000000011.eml"
  back_up_all
  expect_damage_told
  stop
  allow_log '^$'
  expect_kept
  damage "$store/mail/$joe/INBOX/0000000011.eml"
  start_for_backup
  back_up_all
  stop
  expect_ok
  expect_whole
}

# A daemon that has died, before a run or in the middle, is told of; and takes nothing with it.
tell_of_death() {
  local replies died=0
  remember_copy
  start_for_backup
  kill -KILL "$daemon"
  wait "$daemon" 2>/dev/null || true
  back_up
  [ "$status" -ne 0 ] || complain_here 'the daemon was dead, and nobody said so'
  expect_kept
  bury
  for replies in ${deaths:-5 20 40}; do
    start_doomed "$replies"
    back_up_all
    if timeout 60 cat "$mnt/.ctl/version" >/dev/null 2>&1; then # else it may only be about to die
      expect_ok
    else
      died=$((died + 1))
      [ "$status" -ne 0 ] || expect_whole
    fi
    bury
    expect_kept
  done
  [ "$died" -gt 0 ] || complain_here 'the daemon never died'
  start_for_backup
  back_up
  stop
  expect_ok
  expect_whole
}
