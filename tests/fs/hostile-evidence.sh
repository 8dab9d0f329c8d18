#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A store whose files somebody has made to do harm: what is no file where files are, names with control bytes,
# directories below directories without an end, attributes without sense, a mailbox with very many entries. Any mount
# shows what is there, comes to an end and stays within the store.
# MAILFS_HOSTILE_ENTRIES says how many messages the large mailbox has: a million is for those who have the time.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

entries=${MAILFS_HOSTILE_ENTRIES:-5000}
make_sample_store
mailstore -q mailbox create joe@example.com/Many
echo 'out of the store' >"$work/secret"

cat >"$work/harm.py" <<'PYTHON'
import os, random, socket, sys

store, entries, secret = sys.argv[1], int(sys.argv[2]), sys.argv[3]
inbox = f"{store}/mail/example.com/user/joe/INBOX"
random.seed(7)

# What is no message, by the name of one; and where a mailbox could be.
os.mkfifo(f"{inbox}/0000000100.eml")
os.mknod(f"{inbox}/0000000101.eml", 0o20666, os.makedev(1, 5))  # endless zeros
os.mknod(f"{inbox}/0000000102.eml", 0o60666, os.makedev(7, 7))
os.symlink(secret, f"{inbox}/0000000103.eml")
os.symlink("0000000001.eml", f"{inbox}/0000000104.eml")
os.mkdir(f"{inbox}/0000000105.eml")
os.chdir(inbox)
socket.socket(socket.AF_UNIX).bind("0000000106.eml")
os.symlink(os.path.dirname(secret), f"{inbox}/Outside")
os.symlink("..", f"{inbox}/Ring")
os.symlink("/proc/self/root", f"{inbox}/Root")
os.mkfifo(f"{inbox}/Pipe")
os.mkfifo(f"{store}/mail/example.com/user/pipe")
os.symlink("/", f"{store}/mail/example.org")

# Names.
for name in (b"\x1b[31mred", b"\x1b]0;title\x07", b"new\nline", b"\r", b"\xff\xfe", b"%41", b"%", b"%zz", b"a" * 255,
             b"-rf", b"~", b" ", b"\xe2\x80\xae", b"$(id)", b"`id`", b"*"):
    os.mkdir(os.fsencode(inbox) + b"/" + name)
    with open(os.fsencode(inbox) + b"/" + name + b"/0000000001.eml", "w") as message:
        message.write("Subject: x\r\n\r\n")

# Attributes, with sense and without.
KNOWN = ["state", "flags", "name", "uidnext"]
values = [b"", b"\0" * 100, b"\x1b[2J", b"1 " * 500, b"9" * 400, b"-1", b"\xff" * 100, b"%", b"1 2 3 4 5 6 7 8 9 a b c"]
for folder, _, files in os.walk(f"{store}/mail/example.com/user/joe/Lists"):
    for path in [f"{folder}/{name}" for name in files]:
        for key in KNOWN:
            try:
                os.setxattr(path, f"user.mailfs.{key}", random.choice(values))
            except OSError:
                pass
        for i in range(40):
            try:
                os.setxattr(path, f"user.\x1b[2J{i}", os.urandom(60))
            except OSError:
                break

# Very many entries, of one file as far as a file can have names.
many = f"{store}/mail/example.com/user/joe/Many"
for uid in range(1, entries + 1):
    path = f"{many}/{uid:010}.eml"
    if uid % 30000 == 1:
        first = path
        with open(first, "w") as message:
            message.write("Subject: many\r\n\r\n")
    else:
        os.link(first, path)

# Deeper than any path can be.
os.mkdir(f"{inbox}/deep")
os.chdir(f"{inbox}/deep")
for level in range(5000):
    os.mkdir("d")
    os.chdir("d")
    if level % 20 == 0:
        with open("0000000001.eml", "w") as message:
            message.write("Subject: deep\r\n\r\n")
PYTHON
expect python3 "$work/harm.py" "$store" "$entries" "$work/secret"

# Walks the mount, opens and reads all that is in it, and asks for all attributes of some.
cat >"$work/walk.py" <<'PYTHON'
import os, stat, sys

root, entries = os.fsencode(sys.argv[1]), int(sys.argv[2])
inbox = root + b"/example.com/user/joe/INBOX"
messages = 0
stack = [root]
while stack:
    folder = stack.pop()
    with os.scandir(folder) as listing:
        for entry in listing:
            st = entry.stat(follow_symlinks=False)
            assert stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode), entry.path
            if entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
                continue
            messages += 1
            many = entry.path.startswith(root + b"/example.com/user/joe/Many/")
            if many and messages % 97:
                continue
            with open(entry.path, "rb") as message:
                data = message.read()
            assert len(data) == st.st_size and b"out of the store" not in data, entry.path
            for name in os.listxattr(entry.path):
                os.getxattr(entry.path, name)
            shown = os.getxattr(entry.path, "user.mailfs.all")
            assert not [byte for byte in shown if byte < 32 and byte != 10], shown
assert len(os.listdir(root + b"/example.com/user/joe/Many")) == entries
for uid in range(100, 107):
    assert not os.path.isfile(inbox + b"/%010d.eml" % uid), uid
for name in (b"Outside", b"Ring", b"Root", b"Pipe"):
    assert not os.path.lexists(inbox + b"/" + name), name
assert sorted(name for name in os.listdir(inbox) if name.endswith(b".eml") and name < b"0000000100")[0] == b"0000000001.eml"
assert not os.path.lexists(root + b"/example.org")
print(messages)
PYTHON

for options in ro,forensic ro rw,worker=off; do
  allow_log '.'
  start -f -o "$options"
  timeout 300 python3 "$work/walk.py" "$mnt" "$entries" >"$work/out" 2>&1 || complain_here "$options: $(<"$work/out")"
  echo "$options: $(<"$work/out") messages"
  timeout 100 cat "$mnt"/.ctl/{health,status,events,damage} >"$work/shown" 2>&1 || true
  stop
  cat "$work/log" >>"$work/shown"
  expect_equal "$(LC_ALL=C tr -d '\n\t[:print:]\200-\377' <"$work/shown" | wc -c)" 0
done

# Tools come to an end, too.
for command in 'list -l' 'check --full' report 'damage' '--forensic list -l' '--forensic check' '--forensic report'; do
  status=0
  # shellcheck disable=SC2086 # words
  timeout 300 mailstore $command >"$work/shown" 2>&1 </dev/null || status=$?
  [ "$status" -le 1 ] || complain_here "$command ended with $status: $(tail -n 2 "$work/shown")"
  expect_equal "$(LC_ALL=C tr -d '\n\t[:print:]\200-\377' <"$work/shown" | wc -c)" 0
done
expect_equal "$(<"$work/secret")" 'out of the store'
