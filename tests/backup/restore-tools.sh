#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A copy that was made through a mount, by each tool, is put back into mail/ with that tool and nothing else: the
# whole store, a user, a mailbox, a message. Then the mount shows what it showed before, to the inode numbers and
# nanoseconds. Copies that carry no attributes get what they lost from an export.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool rsync

# Every directory has a time of long ago: rsync does not look at what is less than a second, rdiff-backup keeps none.
make_mail
mailstore -q deliver -c joe@example.com/Work/Plans <"$sample/01-welcome.eml" >/dev/null
mailstore -q flag joe@example.com/Work/Plans 1 +Draft +Later
find "$store/mail" -depth -type d -exec touch -d '2024-03-01 12:00:00' {} +
mailstore -q repair >/dev/null
run -q check
expect_status 0

dump() {
  python3 -B "$MAILFS_SOURCE/tests/backup/dump.py" "$mnt" "$@"
}

# Each tool copies once. put_TOOL PATH puts that back, plain_TOOL without attributes.
export BORG_REPO=$work/borg BORG_BASE_DIR=$work/cache BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
export RESTIC_REPOSITORY=$work/restic RESTIC_PASSWORD=secret
save_rsync() { rsync -aX "$mnt/" "$work/rsync/"; }
save_tar() { tar --create --xattrs --format=posix --file="$work/tar" --directory="$mnt" .; }
extract_tar() {
  local options=("$1")
  shift
  [ "$1" == . ] || set -- "${@/#/.\/}"
  tar --extract "${options[@]}" --file="$work/tar" --directory="$store/mail" "$@"
}
put_tar() { extract_tar --xattrs "$@"; }
plain_tar() { extract_tar --no-xattrs "$@"; }
save_borg() {
  borg init --encryption=none 2>/dev/null
  env -C "$mnt" borg create ::one .
}
extract_borg() {
  local options=("$1")
  shift
  # It has nothing to tell of the top.
  [ "$1" != . ] || { into=(.) && shift; }
  env -C "$store/mail" borg extract "${options[@]}" ::one "$@"
}
put_borg() { extract_borg --error "$@"; }
plain_borg() { extract_borg --noxattrs "$@"; }
save_restic() {
  restic init --quiet
  env -C "$mnt" restic backup --quiet .
}
# It would touch the directories above as well.
put_restic() {
  rm -rf "$work/restored"
  restic restore --quiet latest --target "$work/restored"
  put_from "$work/restored" "$@"
  [ "$1" != . ] || into=(.)
}
save_rdiff() { rdiff-backup -v 0 backup "$mnt" "$work/rdiff"; }
put_rdiff() {
  rm -rf "$work/restored"
  rdiff-backup -v 0 restore "$work/rdiff" "$work/restored"
  put_from "$work/restored" "$@"
}

# put_from DIR PATH: as cp(1) does.
put_from() {
  if [ "$2" == . ]; then
    cp -a "$1/." "$store/mail/"
  else
    cp -a "$1/$2" "$(dirname "$store/mail/$2")/"
  fi
}
extract_rsync() {
  if [ "$2" == . ]; then
    rsync "$1" "$work/rsync/" "$store/mail/"
  else
    rsync "$1" "$work/rsync/$2" "$(dirname "$store/mail/$2")/"
  fi
}
put_rsync() { extract_rsync -aX "$@"; }
plain_rsync() { extract_rsync -a "$@"; }

tools=(rsync tar)
! command -v borg >/dev/null || tools+=(borg)
! command -v restic >/dev/null || tools+=(restic)
! { command -v rdiff-backup && "$(sed '1s/^#!//; q' "$(command -v rdiff-backup)")" -c 'import xattr'; } >/dev/null 2>&1 ||
  tools+=(rdiff)
start -f -o ro
for tool in "${tools[@]}"; do "save_$tool" >"$work/said" 2>&1 || complain_here "$tool: $(<"$work/said")"; done
cp "$mnt/.ctl/export.jsonl" "$work/export"
dump >"$work/before"
stop
cp -a "$store" "$work/original"

# lose WHAT: takes it away, and more or less of what else is known of it; $path is what a copy has to bring, and
# $into what that is put into.
lose() {
  rm -rf "$store"
  cp -a "$work/original" "$store"
  case $1 in
  store)
    path=. into=()
    rm -rf "$store"
    mailstore -q init
    ;;
  user)
    path=$joe into=(example.com/user)
    rm -r "$store/mail/$joe"
    ;;
  user-and-databases)
    lose user
    rm -r "$store/index" "$store/mailboxes.sqlite3"
    ;;
  user-noticed)
    lose user
    mailstore -q list >/dev/null
    ;;
  mailbox)
    path=$joe/INBOX into=("$joe")
    rm -r "$store/mail/$joe/INBOX"
    ;;
  mailbox-removed)
    path=$joe/Work/Plans into=("$joe/Work")
    mailstore -q mailbox remove joe@example.com/Work/Plans >/dev/null
    ;;
  message)
    path=$joe/INBOX/0000000004.eml into=("$joe/INBOX")
    rm "$store/mail/$joe/INBOX/0000000004.eml"
    ;;
  message-noticed)
    lose message
    mailstore -q repair >/dev/null || true
    ;;
  message-expunged)
    lose message
    cp -a "$work/original/mail/$path" "$store/mail/$path"
    mailstore -q expunge --uid 4 joe@example.com/INBOX >/dev/null
    ;;
  message-cleaned-up)
    lose message-expunged
    mailstore -q cleanup --age 0 >/dev/null
    ;;
  esac
}

# The mount shows what it showed; at once, after a repair, and when all databases are made anew.
expect_back() {
  local label=$1
  python3 -B - "$work/before" "${into[@]}" >"$work/expected" <<'PYTHON'
import sys
timeless = {ascii(name) for name in sys.argv[2:]}
for line in open(sys.argv[1]):
    fields = line.rstrip('\n').split(' ')
    name = line[:line.index("' ") + 1]
    rest = line[len(name) + 1:].split(' ', 7)
    if name in timeless:
        rest[6] = '-'
    print(name, *rest, end='')
PYTHON
  look_again "$label"
  mailstore -q repair >/dev/null
  run -q check
  expect_status 0
  look_again "$label, repaired"
  rm -r "$store/index" "$store/mailboxes.sqlite3"
  look_again "$label, without databases"
  if getfattr -R -d -m 'user\.mailfs\.(flags|number|uidvalidity|uidnext|subscribed|special_use|name)' "$store/mail" 2>/dev/null | grep -m 3 =; then
    complain_here "$label: what the mount told is still there"
  fi
}

look_again() {
  start -f -o ro
  dump "${into[@]}" | diff "$work/expected" - >"$work/diff" || complain_here "$1: $(grep -c '^[<>]' "$work/diff") lines: $(grep '^[<>]' "$work/diff" | cut -c1-400 | head -n 4)"
  stop
}

for tool in "${tools[@]}"; do
  for what in store user user-and-databases user-noticed mailbox mailbox-removed message message-noticed \
    message-expunged message-cleaned-up; do
    [[ $tool == rsync || $what != *-* || $what == user-and-databases ]] || continue
    lose "$what"
    "put_$tool" "$path" >"$work/said" 2>&1 || complain_here "$tool: $(<"$work/said")"
    expect_back "$what by $tool"
  done
done

# Without attributes. What is named gets back what it lost; a lone message, whose mailbox is known, too.
for tool in rsync tar borg; do
  [[ " ${tools[*]} " == *" $tool "* ]] || continue
  for what in store user-and-databases user mailbox message-noticed; do
    [[ $tool == rsync || $what == store || $what == user-* ]] || continue
    lose "$what"
    "plain_$tool" "$path" >"$work/said" 2>&1 || complain_here "$tool: $(<"$work/said")"
    run -q restore --export "$work/export"
    expect_status 0
    expect_back "$what by $tool, without attributes"
  done
done
