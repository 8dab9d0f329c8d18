#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the journal, syslog and the service manager are told. Their sockets have fixed names, so the test
# has a mount namespace of its own, with its own /run and /dev.
# shellcheck source-path=SCRIPTDIR
if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ]; then
  exec unshare --mount --propagation private bash "$0" inside
fi
source "$(dirname "$0")/lib.sh"

allow_log 'INBOX/0000000001.eml: '
mkdir "$work/dev" "$work/told"
mount -t tmpfs tmpfs "$work/dev"
for device in fuse null zero full random urandom tty; do
  [ ! -e "/dev/$device" ] || {
    touch "$work/dev/$device"
    mount --bind "/dev/$device" "$work/dev/$device"
  }
done
ln -s /proc/self/fd "$work/dev/fd"
mount --move "$work/dev" /dev
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal

# listen SOCKET FILE: keeps each datagram as a line of JSON; "@NAME" is an abstract socket.
listeners=()
listen() {
  rm -f "$work/told/$2" # of a listener before, which was ready
  python3 - "$1" <<'PYTHON' >"$work/told/$2" &
import json, socket, sys
name = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('\0' + name[1:] if name[0] == '@' else name)
print('listening', flush=True)
while True:
    print(json.dumps(receiver.recv(1 << 20).decode().split('\n')), flush=True)
PYTHON
  listeners+=($!)
  within 10000 grep -q listening "$work/told/$2"
}
deaf() {
  kill "${listeners[@]}"
  wait "${listeners[@]}" 2>/dev/null || true
  listeners=()
  rm -f /run/systemd/journal/socket /dev/log
}

# told FILE EXPRESSION: some datagram is so: `lines`, and as a dict `fields`.
told() {
  python3 - "$work/told/$1" "$2" <<'PYTHON'
import collections, json, sys
for datagram in open(sys.argv[1], encoding='utf-8').readlines()[1:]:
    lines = json.loads(datagram)
    fields = collections.defaultdict(str)
    fields.update(line.split('=', 1) for line in lines if '=' in line)
    if eval(sys.argv[2]):
        sys.exit(0)
sys.exit(1)
PYTHON
}
# The listener writes down what it was sent when it gets to it.
is_told() {
  within 20000 told "$@"
}
is_not_told() {
  ! told "$@" || complain_here "$1 was told: $2"
}

make_sample_store
ctl=$mnt/.ctl
damage_one() {
  printf %s "$1" | dd of="$store/mail/example.com/user/joe/INBOX/0000000001.eml" bs=1 seek=20 conv=notrunc status=none
}
stopped() {
  ! pgrep -f "^mailfs .*$mnt$" >"$work/out"
}

# ---- the journal, from the background -------------------------------------------------------------------

listen /run/systemd/journal/socket journal
listen /dev/log syslog
mailfs "$store" "$mnt"
echo 'reconstruct joe@example.com wait' >"$ctl/ctl"
echo 'nonsense "quoted" \ ' 2>/dev/null >"$ctl/ctl" && complain_here 'nonsense'
echo 'dry-run' >"$inbox/.ctl/repair"
within 10000 told journal '"repair dry-run joe@example.com/INBOX done" in fields["MESSAGE"]'
is_told journal 'fields["JOB"] == "1" and fields["MAILBOX"] == "joe@example.com" and fields["MESSAGE"].startswith ("job 1: reconstruct joe@example.com done: ") and fields["PRIORITY"] == "5"'
is_told journal 'fields["MESSAGE"].startswith ("uid 0, pid ") and "nonsense" in fields["MESSAGE"] and "EINVAL" in fields["MESSAGE"] and fields["PRIORITY"] == "6" and "JOB" not in fields and "MAILBOX" not in fields'
is_told journal 'fields["MESSAGE"].endswith ("repair: dry-run: ok") and fields["MAILBOX"] == "joe@example.com/INBOX" and fields["JOB"] == "2"'
is_not_told journal 'lines[-1] != "" or not all ("=" in line for line in lines[:-1]) or fields["SYSLOG_FACILITY"] != "3" or fields["SYSLOG_IDENTIFIER"] != "mailfs"'
is_not_told syslog True

# A reader who meets damage: the journal knows in which mailbox.
damage_one X
expect_error EIO cat "$inbox/0000000001.eml"
is_told journal 'fields["PRIORITY"] == "4" and fields["MAILBOX"] == "joe@example.com/INBOX" and "0000000001.eml" in fields["MESSAGE"]'

# Where the journal is gone, syslog is told; and the journal again when it is back.
deaf
listen /dev/log syslog
echo 'nonsense2' 2>/dev/null >"$ctl/ctl" && complain_here 'nonsense'
within 10000 told syslog '"mailfs[" in lines[0] and "nonsense2" in lines[0] and "EINVAL" in lines[0]'
listen /run/systemd/journal/socket journal
echo 'nonsense3' 2>/dev/null >"$ctl/ctl" && complain_here 'nonsense'
within 10000 told journal '"nonsense3" in fields["MESSAGE"]'
is_not_told syslog '"nonsense3" in lines[0]'
umount "$mnt"
within 20000 stopped
deaf

# ---- a service in the foreground, whose stderr is the journal ---------------------------------------------

export NOTIFY_SOCKET=$work/notify
listen "$NOTIFY_SOCKET" manager
listen /run/systemd/journal/socket journal
: >"$work/log"
JOURNAL_STREAM=$(stat -c %d:%i "$work/log")
export JOURNAL_STREAM
start -f
within 10000 told manager '"READY=1" in lines and any (line.startswith ("STATUS=") for line in lines) and fields["MAINPID"] == "'"$daemon"'"'
echo 'reconstruct joe@example.com wait' >"$ctl/ctl"
within 10000 told journal 'fields["JOB"] and ": reconstruct joe@example.com done" in fields["MESSAGE"]'
expect_equal "$(<"$work/log")" ''
within 10000 told manager 'fields["STATUS"].endswith ("job: none; 0 waiting")'
is_not_told manager 'not all ("=" in line for line in lines)'
cat "$ctl/health" >"$work/out"
damage_one Y
expect_error EIO cat "$inbox/0000000001.eml"
within 20000 told manager 'fields["STATUS"].startswith ("damaged; ")'
is_not_told manager '"STOPPING=1" in lines'
kill -TERM "$daemon"
end_daemon 0
is_told manager '"STOPPING=1" in lines'
deaf

# Another file than the journal's is written to as it is; an abstract socket; no journal at all.
export NOTIFY_SOCKET=@mailfs-test-$$ JOURNAL_STREAM=1:1
listen "$NOTIFY_SOCKET" manager
start -f
within 10000 told manager '"READY=1" in lines'
expect_error EIO cat "$inbox/0000000001.eml"
expect grep -q '^mailfs: /example.com/user/joe/INBOX/0000000001.eml: ' "$work/log"
stop
is_told manager '"STOPPING=1" in lines'
deaf

# A name that makes no sense, and one where nobody listens, keep nobody from anything.
for name in '' relative @ /nowhere "/$(printf 'x%.0s' {1..200})"; do
  NOTIFY_SOCKET=$name start -f
  stop
done
