#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# contrib/mailfs-backup: it runs a tool on one moment of the store, and leaves nothing behind, whatever
# happens to it; and no copy is emptied.
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC2016 # for the shell in the mount
source "$(dirname "$0")/lib.sh"
needs_tool rsync
export MAILFS_BACKUP_RUN=$work/run PATH=$MAILFS_SOURCE/contrib:$PATH
mountpoint=$work/run$store
mounts+=("$mountpoint")
mkfifo "$work/go"
make_mail

wrap() { tool mailfs-backup "$@"; }
expect_status() { [ "$status" -eq "$1" ] || complain_here "exit status $status, not $1: $err"; }
expect_told() { [[ $err == *"$1"* ]] || complain_here "not told '$1': $err"; }
expect_nothing_left() {
  expect [ ! -e "${1:-$mountpoint}" ]
  expect_equal "$(mailstore --json snapshot list)" '' snapshots
}
back_up() { wrap "$@" "$store" -- rsync -aX --delete -i ./ "$work/copy/"; }
extract() { cp -a "$work/copy" "$1"; }
compare_options=(--seconds)

# ---- a run ----
back_up --export "$work/export" --digests="$work/digests"
expect_status 0
expect_equal "$err" ''
expect_whole
expect_nothing_left
(cd "$work/copy" && sha256sum --quiet -c "$work/digests") || complain_here 'digests'
expect_equal "$(grep -c '"type":"message"' "$work/export")" 300
expect_equal "$(stat -c %a "$work/export" "$work/digests" | sort -u)" 600
back_up
expect_status 0
expect_equal "$said" ''

# The same place and the same inode numbers, every time, and none of what comes meanwhile.
start -f -o ro
numbers=$(cd "$mnt" && find . -printf '%i %P\n' | sort)
stop
wrap "$store" sh -c '[ "$PWD" = "$MAILFS_MOUNTPOINT" ] && pwd && find . -printf "%i %P\n" | sort'
expect_equal "$said" "$mountpoint
$numbers"
wrap "$store" sh -c "mailstore -q -s '$store' deliver joe@example.com <'$sample/01-welcome.eml' >'$work/uid' && find . -type f | wc -l"
expect_equal "$said" 300
expect_equal "$(count)" 301
wrap -m "$work/elsewhere" "$store" pwd
expect_equal "$said" "$work/elsewhere"
expect_nothing_left "$work/elsewhere"
back_up

# ---- awake ----
latency=/dev/cpu_dma_latency # read, it tells what all who have opened it ask for together
if [ -w $latency ]; then
  before=$(od -A n -t d4 $latency)
  wrap -l "$store" sh -c "od -A n -t d4 $latency; ls -l /proc/self/fd"
  expect [ $((${said%%$'\n'*})) -eq 0 ]
  expect [ "${said/$latency/}" = "$said" ]
  expect_equal "$(od -A n -t d4 $latency)" "$before"
else
  wrap -l "$store" true
  expect_status 71
  expect_told "$latency"
fi
expect_nothing_left

# ---- what the tool says is what is said ----
for code in 0 1 7 23 255; do
  wrap "$store" sh -c "exit $code"
  expect_status "$code"
done
expect_nothing_left
status=0
echo hello | mailfs-backup "$store" cat >"$work/out" || status=$?
expect_equal "$status$(<"$work/out")" 0hello

# ---- wrong use ----
wrap
expect_status 64
wrap "$store"
expect_status 64
wrap --nonsense "$store" true
expect_status 64
wrap --check=perhaps "$store" true
expect_status 64
expect_told 'not one of no, tell, refuse'
wrap "$work" true
expect_status 66
wrap "$store" no-such-command
expect_status 127
mkdir "$work/alone"
ln -s "$(type -P getopt)" "$(type -P true)" "$work/alone"
status=0
err=$(PATH=$work/alone "$MAILFS_SOURCE/contrib/mailfs-backup" "$store" true 2>&1) || status=$?
expect_equal "$status $err" '71 mailfs-backup: mailstore is not installed, or not in PATH'
wrap -e "$work/missing/export" "$store" touch "$work/ran"
expect_status 73
expect_equal "$err" "mailfs-backup: $work/missing/export: there is no such directory"
mkdir "$work/full"
touch "$work/full/file"
wrap -m "$work/full" "$store" touch "$work/ran"
expect_status 71
wrap -m /proc "$store" touch "$work/ran"
expect_status 73
expect [ ! -e "$work/ran" ]
expect_nothing_left
wrap --help
expect_status 0

# ---- the store is mounted there, and in use ----
start -f -o ro
wrap -m "$mnt" "$store" touch "$work/ran"
expect_status 73
expect_told 'something else is mounted there'
expect [ ! -e "$work/ran" ]
expect mountpoint -q "$mnt"
stop

# ---- nothing is mounted ----
mkdir "$work/bin"
printf '#!/bin/sh\nexit 0\n' >"$work/bin/mailfs"
chmod +x "$work/bin/mailfs"
PATH=$work/bin:$PATH back_up
expect_status 71
expect_told 'not mounted'
expect_whole
expect_nothing_left

# ---- it is mounted no longer when the tool is to be run ----
# instead_of COMMAND SCRIPT: what is run instead, in the directory $work/instead.
instead_of() {
  mkdir -p "$work/instead"
  printf '#!/bin/sh\n%s\n' "$2" >"$work/instead/$1"
  chmod +x "$work/instead/$1"
}
instead_of tail "umount -l '$mountpoint'; exec $(type -P tail) \"\$@\""
PATH=$work/instead:$PATH back_up --export "$work/export"
expect_status 71
expect_told 'not mounted any more'
expect_whole
expect_nothing_left

# ---- a list that is not complete is no reason to lose one that is ----
instead_of tail 'echo "# not complete"'
cp "$work/digests" "$work/digests.before"
PATH=$work/instead:$PATH wrap --digests "$work/digests" "$store" true
expect_status 74
expect_told 'not complete'
expect cmp "$work/digests" "$work/digests.before"

# ---- where the store may lie ----
for name in 'Grüße 100%' $'new\nline' 'back\slash\x41' $'\xff'; do
  mv "$store" "$work/$name"
  mounts+=("$work/run$work/$name")
  LC_ALL=C wrap "$work/$name" pwd
  mv "$work/$name" "$store"
  expect_status 0
  expect_equal "$said" "$work/run$work/$name"
  expect_nothing_left "$work/run$work/$name"
done

# ---- findings ----
touch "$store/stray"
wrap "$store" echo ran
expect_status 0
expect_told 'check has findings'
expect_equal "$said" ran
wrap --check no "$store" echo ran
expect_equal "$said$err" ran
wrap -c refuse "$store" echo ran
expect_status 65
expect_equal "$said" ''
rm "$store/stray"

# ---- damage that the tool is content with ----
damage "$store/mail/$joe/INBOX/0000000011.eml"
wrap -c no "$store" sh -c 'find . -type f -exec cat {} + >/dev/null 2>&1; true'
expect_status 74
expect_told 'because of damage: 1 of'
wrap -c no "$store" sh -c 'cat example.com/user/joe/INBOX/0000000011.eml 2>/dev/null; exit 5'
expect_status 5
damage "$store/mail/$joe/INBOX/0000000011.eml"

# ---- the daemon dies below the tool ----
kill_daemon='kill -KILL $(sed -n "s/^pid //p" .ctl/status); while [ -e .ctl/status ]; do :; done'
wrap "$store" sh -c "$kill_daemon"
expect_status 74
expect_told 'has died'
expect_nothing_left
wrap "$store" sh -c "$kill_daemon; rsync -aX --delete ./ '$work/copy/'"
expect_status 23
expect_whole
expect_nothing_left

# ---- this run dies ----
# begin COMMAND: starts a run whose command says on a pipe that it is there, and leaves $wrapper and $inside.
begin() {
  env --default-signal=INT mailfs-backup "$store" bash -c "echo \$\$ >'$work/go'; $1" 2>"$work/said.err" &
  wrapper=$!
  read -r inside <"$work/go"
}
kill_runs() {
  { kill -KILL "$@" && wait "$wrapper"; } 2>/dev/null || true
}
for signal in HUP INT TERM; do
  begin 'exec sleep 1000'
  kill "-$signal" "$wrapper"
  status=0
  wait "$wrapper" || status=$?
  expect_equal "$status" $((128 + $(kill -l "$signal")))
  expect_nothing_left
done
# Killed, it leaves its command alone; nobody unmounts below that.
begin "read -r _ <'$work/go'; cmp '$sample/01-welcome.eml' 'example.com/user/joe/INBOX/0000000131.eml' && touch '$work/ended'"
wrap "$store" true
expect_status 75
expect_told "begun by process $wrapper"
# By another path it is the same store.
ln -s "$store" "$work/link"
mkdir "$work/bound"
mount --bind "$store" "$work/bound"
mounts+=("$work/bound")
for path in "$work/link" "$work/bound"; do
  wrap "$path" true
  expect_status 75
  expect_told "begun by process $wrapper"
done
umount "$work/bound"
kill_runs "$wrapper"
wrap "$store" true
expect_status 75
expect mountpoint -q "$mountpoint"
echo >"$work/go"
within 10000 [ -e "$work/ended" ]
gone() { ! kill -0 "$1" 2>/dev/null; }
within 10000 gone "$inside"
back_up
expect_status 0
expect_told 'mounted by a run that was killed'
expect_whole
expect_nothing_left
# Everything of it dies.
begin 'exec sleep 1000'
daemon=$(sed -n 's/^pid //p' "$mountpoint/.ctl/status")
kill_runs "$wrapper" "$inside" "$daemon"
within 10000 gone "$inside"
within 10000 gone "$daemon"
back_up
expect_status 0
expect_told 'left by a run that was killed'
expect_whole
expect_nothing_left
