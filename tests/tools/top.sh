#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore top: of a store and of a mount, as text, as JSON and on terminals of some sizes.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q backup /proc/nowhere 2>/dev/null || true
mailstore -q queue add check >/dev/null
mailstore -q queue add cleanup --age 7d joe@example.com >/dev/null
escape=$'\033'

# What is no terminal gets one frame, of text alone.
run top
expect_status 0
expect_out "$store  ok"
expect_out '8 messages'
expect_out 'JOBS  0 running, 2 waiting'
expect_out 'check (the whole store)'
expect_out 'cleanup age=7d joe@example.com'
expect_out 'LAST ERRORS'
expect_out 'backup directory=/proc/nowhere: '
[[ $out != *"$escape"* && $out != *REQUESTS* ]] || complain 'more than there is to tell'
run --json top --count 3 --interval 0.1
expect_json 'len(rows) == 3' \
  'all(r["type"] == "frame" and r["health"] == "ok" and r["messages"] == 8 for r in rows)' \
  'all(r["waiting"] == 2 and r["running"] == 0 and r["requests"] == [] for r in rows)'
run --json top --once
expect_json 'len(rows) == 1'
run top joe@example.com
expect_status 64
run top --interval 0
expect_status 64
run -s "$work" top
expect_status 64

# A job that runs.
hold
mailstore -q reset 2>/dev/null &
running=$!
wait_for 4 state running
run top
expect_out '1 running, 2 waiting'
expect_out '4 reset (the whole store)'
release
wait "$running"
mailstore -q reconstruct >/dev/null

# Of a mount: what is asked for is counted, and what was refused is told.
if [ -e /dev/fuse ] && [ "$(id -u)" -eq 0 ]; then
  mkdir "$work/mnt"
  mailfs -o worker=off "$store" "$work/mnt"
  mounts+=("$work/mnt")
  cat "$work"/mnt/example.com/user/joe/INBOX/*.eml >/dev/null
  ! echo 'bogus </joe>' 2>/dev/null >"$work/mnt/.ctl/ctl" || complain 'there is no such verb'
  run -s "$work/mnt" top
  expect_status 0
  expect_out "$work/mnt  ok  up "
  expect_out 'since it was mounted'
  expect_out '8 messages'
  expect_out '2 waiting'
  expect_out '     2 check (the whole store)'
  expect_out '     3 cleanup age=7d joe@example.com'
  expect_out "EINVAL  bogus </joe>: no command 'bogus'"
  run -s "$work/mnt" --json top --count 2 --interval 0.1
  expect_json 'all(r["mount"] and r["health"] == "ok" and r["waiting"] == 2 for r in rows)' \
    'all({"read", "lookup", "readdirplus"} <= {o["operation"] for o in r["requests"] if o["total"] > 0} for r in rows)' \
    'all(o["p50"] is None or 0 < o["p50"] <= o["p99"] < 30 for r in rows for o in r["requests"])' \
    'rows[0]["requests"] and rows[1]["seconds"] >= 0.1' \
    'all(o["rate"] * rows[1]["seconds"] <= o["total"] + 1 for o in rows[1]["requests"])'
fi

# On a terminal.
python=
for candidate in python3 /usr/bin/python3; do
  ! "$candidate" -c 'import pyte' 2>/dev/null || python=$candidate
done
if [ -z "$python" ]; then
  [ "$failures" -gt 0 ] || skip 'no terminal to look at: python3-pyte is missing'
  exit
fi
"$python" - "$(dirname "$0")" "$store" "${mounts[0]:-$store}" <<'PYTHON' || complain 'on a terminal'
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from terminal import Terminal

store, place = sys.argv[2:]
TOP = ['mailstore', '-s', place, 'top', '--interval', '0.2']


def check(terminal, columns, rows):
    """A whole frame, which neither wraps nor scrolls."""
    def whole(lines):
        # A frame may come in pieces, of which this is the end.
        return terminal.bytes.endswith(b'\033[J') and lines[0].startswith(place[:12]) and \
            any('JOBS' in line for line in lines)
    lines = terminal.until(whole)
    assert lines[0][-8:][2] == ':' and len(lines[0]) == columns, lines[0]
    assert len(lines) == rows
    assert sum('JOBS' in line for line in lines) == 1, lines
    assert terminal.screen.cursor.hidden
    if place != store:
        assert any(line.startswith('REQUESTS') for line in lines), lines
        assert sum('operation' in line for line in lines) == 1, lines
        assert '\u2588' in ''.join(lines) or columns < 72, lines
    return lines


def leave(terminal, how, code=0):
    how()
    assert terminal.wait() == code, terminal.process.returncode
    assert terminal.restored, terminal.bytes[-200:]


for columns, rows in (80, 24), (40, 10), (200, 60), (41, 11), (20, 3):
    with Terminal(TOP, columns, rows) as terminal:
        if columns >= 40:
            check(terminal, columns, rows)
            # From a frame to the next: then there is a history.
            if place != store:
                terminal.until(lambda lines: not any('since' in line for line in lines))
        else:
            terminal.until(lambda lines: 'ok' in lines[0] or ':' in lines[0])
        leave(terminal, lambda: terminal.type('q'))

# Sizes that change meanwhile, and colours.
with Terminal(TOP, 80, 24) as terminal:
    check(terminal, 80, 24)
    assert b'\033[32m' in terminal.bytes, 'no colours'
    for columns, rows in (40, 10), (132, 50), (80, 24):
        terminal.resize(columns, rows)
        terminal.until(lambda lines: len(lines[0]) == columns and lines[0][-3] == ':')
        check(terminal, columns, rows)
    leave(terminal, lambda: terminal.type('\x03'))
with Terminal(TOP, 80, 24, NO_COLOR='1') as terminal:
    check(terminal, 80, 24)
    assert b'\033[3' not in terminal.bytes and b'\033[1m' in terminal.bytes
    leave(terminal, lambda: terminal.process.send_signal(signal.SIGTERM))
with Terminal(TOP, 80, 24, LC_ALL='C') as terminal:
    terminal.until(lambda lines: any('JOBS' in line for line in lines))
    leave(terminal, lambda: terminal.process.send_signal(signal.SIGHUP))
    assert all(byte < 128 for byte in terminal.bytes)

# Stopped by Ctrl-Z it gives the terminal back until it goes on, which the shell here wants at once.
with Terminal(['bash', '-mc', '"$@"; fg >/dev/null', 'bash', *TOP], 80, 24) as terminal:
    check(terminal, 80, 24)
    terminal.type('\x1a')
    terminal.until(lambda lines: terminal.bytes.count(b'\033[?1049h') == 2)
    assert terminal.bytes.count(b'\033[?1049l') == 1
    check(terminal, 80, 24)
    leave(terminal, lambda: terminal.type('Q'))

# What it looks at goes away: it says so on the screen that there was before.
with Terminal(['mailstore', '-s', place, 'top', '--count', '1'], 80, 24) as terminal:
    leave(terminal, lambda: None)
if place != store:
    with Terminal(TOP, 80, 24) as terminal:
        check(terminal, 80, 24)
        while os.system(f'umount {place} 2>/dev/null') != 0: # it may just be looking
            assert os.path.ismount(place)
        assert terminal.wait() != 0 and terminal.restored
        assert b'mailstore: ' in terminal.bytes[terminal.bytes.rfind(b'\033[?1049l'):]
PYTHON
