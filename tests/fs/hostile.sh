#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source-path=SCRIPTDIR
# Messages that nobody should send: each goes in, comes out byte for byte, and takes bounded memory.
source "$(dirname "$0")/lib.sh"

# Sanitizers multiply memory; the bounds are for what people run.
memory_max=$((64 * 1024)) huge=$((2 << 30))
[ -z "${MAILFS_SANITIZE:-}" ] || memory_max=$((1024 * 1024)) huge=$((64 << 20))

# Runs a command and complains when its largest process took more than memory_max KiB.
bounded() {
  python3 - "$memory_max" "$@" <<'PYTHON' || complain_here "failed or took too much memory: $*"
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
if used > int(sys.argv[1]):
    print(f'{used} KiB')
sys.exit(status not in (0, 1) or used > int(sys.argv[1]))
PYTHON
}

python3 - "$work/in" "$huge" <<'PYTHON'
import os, sys
path = sys.argv[1]
os.mkdir(path)

def write(name, *chunks):
    with open(f'{path}/{name}.eml', 'wb') as message:
        for chunk in chunks:
            message.write(chunk)

write('empty')
write('nul', b'Subject: \0 nul\r\n\r\nbody\0\0\0\r\n')
write('only-nul', b'\0' * 100000)
write('no-end', b'Subject: no end of line')
write('nested', b''.join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (i, i)
                         for i in range(100000)))
write('many-parts', b'Content-Type: multipart/mixed; boundary=b\n\n' + b'--b\n\nx\n' * 100000)
write('long-header', b'Subject: ', b'x' * 50000000, b'\nFrom: a@example.org\n\nbody\n')
write('many-headers', b'X-Header: value\n' * 200000, b'\nbody\n')
write('many-addresses', b'To: ', b'"a b" <someone@example.org>, ' * 100000, b'\n\nbody\n')
write('escapes', b'Subject: \x1b[2J\x1b]0;evil\x07\nFrom: =?utf-8?q?=1B[31m?= <a@b>\n\nx\n')
write('binary', bytes(range(256)) * 1000)
write('huge', b'Subject: huge\n\n')
os.truncate(f'{path}/huge.eml', int(sys.argv[2]))
PYTHON

mailstore -q init
# Linked, so that gigabytes need not be written; the sparse file is read all the same.
bounded mailstore -q import --link --format eml "$work/in" joe@example.com
expect equal "$(count)" 12
bounded mailstore -q check --full joe@example.com

(cd "$work/in" && openssl dgst -sha256 -r ./*.eml) | cut -c-64 | sort >"$work/before"
start -f -o worker=off
(cd "$inbox" && openssl dgst -sha256 -r ./*.eml) | cut -c-64 | sort >"$work/after"
expect cmp "$work/before" "$work/after"
expect equal "$(find "$inbox" -size "${huge}c" | wc -l)" 1
if [ -z "${MAILFS_SANITIZE:-}" ]; then
  used=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon/status")
  expect test "$used" -le "$memory_max"
fi

# No attribute shows a control byte, whatever the header says, and none fails.
for message in "$inbox"/*.eml; do
  getfattr -n user.mailfs.all --absolute-names --only-values "$message" >"$work/all" || complain_here "$message"
  expect test "$(tr -d '[:print:]\n\200-\377' <"$work/all" | wc -c)" -eq 0
done
stop

rm -r "$store/index"
bounded mailstore -q reconstruct -r
mailstore -q check
