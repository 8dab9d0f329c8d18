#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Many orders at once, in pieces of any size, by writers who die in the middle of a line.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f -o worker=off
ctl=$mnt/.ctl
queue_length() {
  status_of queue
}
last_id() {
  readlink "$ctl/jobs/last"
}

# 100,000 lines by cat, which cuts them where its buffer ends. No two are the same job.
python3 - >"$work/lines" <<'PYTHON'
for second in range(100000):
    print(f'cleanup age={second} joe@example.com')
PYTHON
expect timeout 300 cat "$work/lines" >"$ctl/ctl"
expect_equal "$(last_id)" 100000
expect_equal "$(queue_length)" 100000
expect_equal "$(<"$ctl/jobs/100000/cmd")" 'cleanup age=99999 joe@example.com'
expect_equal "$(wc -l <"$ctl/queue")" 100001

# The same again, in other pieces and at the end of the file: all of them wait already.
head -n 20000 "$work/lines" >"$work/some"
expect timeout 300 cp "$work/some" "$ctl/ctl"
expect timeout 300 dd if="$work/some" of="$ctl/ctl" bs=4k status=none conv=notrunc
expect timeout 300 cat "$work/some" >>"$ctl/ctl"
dd if="$work/some" bs=3M status=none | timeout 300 dd of="$ctl/ctl" bs=3M iflag=fullblock status=none
expect_equal "$(last_id)" 100000
expect [ ! -s "$ctl/last_error" ]

# 200 who write at once, each as much as it likes.
python3 - "$ctl/ctl" <<'PYTHON' || complain_here 'two hundred writers'
import os, sys, threading
failures = []
def write(number):
    try:
        for line in range(number % 7 + 1):
            with open(sys.argv[1], 'w') as file:
                file.write(''.join(f'purge age={100 * number + 10 * line + k} joe@example.com\n' for k in range(5)))
    except OSError as error:
        failures.append(error)
threads = [threading.Thread(target=write, args=(number,)) for number in range(200)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(120)
assert not failures, failures[:3]
PYTHON
expect_equal "$(queue_length)" $((100000 + $(python3 -c 'print(5 * sum(n % 7 + 1 for n in range(200)))')))

# A line that is cut at the end of a chunk and goes on in the next is one; of somebody else it is not.
python3 - "$ctl" <<'PYTHON' || complain_here 'pieces of lines'
import os, sys, time
ctl = sys.argv[1]
def last_cmd():
    return open(ctl + '/jobs/last/cmd').read()
def write(fd, text):
    assert os.write(fd, text.encode()) == len(text)
line = 'expunge uid=%02d joe@example.com/Receipts\n'
fd = os.open(ctl + '/ctl', os.O_WRONLY | os.O_TRUNC)
for cut in (1, 7, len(line) - 3):
    wanted = line % cut
    text = '#' * (4095 - cut) + '\n' + wanted[:cut]
    assert len(text) == 4096
    before = last_cmd()
    os.lseek(fd, 0, os.SEEK_SET)
    write(fd, text)
    assert last_cmd() == before
    write(fd, wanted[cut:])
    assert last_cmd() == wanted, last_cmd()
# Not where it left off: a line of its own.
os.lseek(fd, 0, os.SEEK_SET)
write(fd, '#' * 4090 + '\n' + line[:5])
os.lseek(fd, 9 * 4096, os.SEEK_SET)
write(fd, 'check full joe@example.com\n')
assert last_cmd() == 'check full joe@example.com\n'
# Another process.
if os.fork() == 0:
    write(fd, 'check full joe@example.com/Lists\n')
    os._exit(0)
os.wait()
assert last_cmd() == 'check full joe@example.com/Lists\n'
PYTHON

# A writer that dies in the middle of a line has done nothing, and holds up nobody; it is told of in the end.
python3 - "$ctl/ctl" 2>/dev/null <<'PYTHON' || true
import os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, b'\nreset joe@example.com/IN'.rjust(4096, b'#'))
os.kill(os.getpid(), signal.SIGKILL)
PYTHON
expect [ "$(awk '$4 == "reset"' "$ctl/queue")" == '' ]
echo 'check full joe@example.com/Receipts' >"$ctl/ctl"
expect_equal "$(<"$ctl/jobs/last/cmd")" 'check full joe@example.com/Receipts'
dropped() {
  grep -q 'reset joe@example.com/IN.*was begun and not ended' "$ctl/last_error"
}
within 30000 dropped
stop
