#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who asks for the attributes of many messages in their order is answered from rows that were read some hundred at a
# time, and is told of every change at once: by the mount, and beside it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

count=1500
mailstore -q init
mkdir "$work/mail"
for i in $(seq 1 $count); do
  printf 'Subject: %d\r\n\r\n' "$i" >"$work/mail/$(printf %04d "$i").eml"
done
mailstore -q import --format eml "$work/mail" joe@example.com/INBOX >"$work/out"
mailstore -q flag joe@example.com/INBOX 1:$count +Seen

cat >"$work/ask.py" <<'PYTHON'
"""Asks for the flags of all messages, again and again while they change, and holds them against what must be."""
import os
import subprocess
import sys

inbox, count = sys.argv[1], int(sys.argv[2])
paths = [f"{inbox}/{uid:010}.eml" for uid in range(1, count + 1)]
FLAGS = "user.mailfs.flags"
truth = {path: "\\Seen" for path in paths}


def shown(path):
    return os.getxattr(path, FLAGS).decode() if FLAGS in os.listxattr(path) else ""


def look(order):
    for path in order:
        assert shown(path) == truth[path], (path, shown(path), truth[path])


def read(what):
    with open(f"{inbox}/../../../../.ctl/metrics") as metrics:
        return sum(int(line.split()[-1]) for line in metrics if line.startswith(f'mailfs_attribute_rows_total{{read="{what}"'))


# As a listing has brought them, and without one.
os.listdir(inbox)
look(paths)
look(paths)
assert read("before") > 3 * read("then"), (read("before"), read("then"))

# A change by the mount shows at once, to who is in the middle of it as well; in either direction, and of those to come.
for i in range(0, count, 50):
    look(paths[max(0, i - 3):i + 1])
    for path in paths[i:i + 2]:
        os.setxattr(path, FLAGS, b"\\Flagged $A")
        truth[path] = "\\Flagged $A"
        assert shown(path) == truth[path]
    look(paths[max(0, i - 3):i + 4])
os.removexattr(paths[7], FLAGS)
truth[paths[7]] = ""
look(paths)
look(reversed(paths))
look(paths[::97])

# So does one that another process makes, when it has ended.
for uid in (1, 2, 700, 701, count):
    look(paths[max(0, uid - 20):uid])
    subprocess.run(["mailstore", "-q", "flag", "joe@example.com/INBOX", str(uid), "=Draft"], check=True)
    truth[paths[uid - 1]] = "\\Draft"
    look(paths[max(0, uid - 20):uid + 20])

# What is gone has none, and what is between is none of it.
for command in (["flag", "joe@example.com/INBOX", "30:39", "+Deleted"], ["expunge", "joe@example.com/INBOX"]):
    subprocess.run(["mailstore", "-q", *command], check=True, stdout=subprocess.DEVNULL)
for path in paths[29:39]:
    try:
        os.getxattr(path, FLAGS)
        raise AssertionError(path)
    except FileNotFoundError:
        pass
look(paths[20:29] + paths[39:60])
PYTHON
chmod +x "$work/ask.py"

start -f
expect python3 "$work/ask.py" "$inbox" "$count"
stop

# The log may be missing until somebody changes something.
rm "$store/changes"
start -f -o ro
flags() {
  getfattr --absolute-names --only-values -n user.mailfs.flags "$inbox/0000000002.eml"
}
expect_equal "$(flags)" '\Draft'
mailstore -q flag joe@example.com/INBOX 2 =Answered
expect_equal "$(flags)" '\Answered'
stop
