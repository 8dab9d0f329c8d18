#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is left of damaged messages: -o damaged=eio, partial and raw.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
{
  cat "$sample/01-welcome.eml"
  head -c 500000 /dev/urandom | base64
} >"$work/large"
for _ in 1 2 3 4 5 6; do
  mailstore -q deliver -c joe@example.com <"$work/large" >"$work/uid"
done
cat "$sample/01-welcome.eml" >"$work/small"
mailstore -q deliver joe@example.com <"$work/small" >"$work/uid"
size=$(stat -c %s "$work/large")
files=$store/mail/example.com/user/joe/INBOX
message() {
  printf '%s/%010d.eml' "$1" "$2"
}
zero() {
  dd if=/dev/zero of="$1" bs=1 seek="$2" count="$3" conv=notrunc status=none
}

# 1: cut. 2: two runs of zeros. 3: a byte. 4: longer. 5: emptied. 6: good. 7: small, and cut.
truncate -s 123457 "$(message "$files" 1)"
zero "$(message "$files" 2)" 10001 5000
zero "$(message "$files" 2)" 300000 10000
printf '\377' | dd of="$(message "$files" 3)" bs=1 seek=400000 conv=notrunc status=none
echo more >>"$(message "$files" 4)"
: >"$(message "$files" 5)"
truncate -s 100 "$(message "$files" 7)"
allow_log 'INBOX/000000000[123457]\.eml: '

start -f -o worker=off
expect_equal "$(<"$mnt/.ctl/config/damaged")" eio
for uid in 1 2 3 4 5 7; do
  expect_error EIO cat "$(message "$inbox" $uid)"
done
stop

# As the files are, with their sizes.
start -f -o worker=off,damaged=raw
expect_equal "$(<"$mnt/.ctl/config/damaged")" raw
find "$inbox" -name '*.eml' -printf '%f %s\n' | sort >"$work/listed"
find "$files" -maxdepth 1 -name '*.eml' -printf '%f %s\n' | sort | diff - "$work/listed" >"$work/diff" ||
  complain_here "sizes: $(<"$work/diff")"
for uid in 1 2 3 4 5 6 7; do
  expect cmp "$(message "$files" $uid)" "$(message "$inbox" $uid)"
  expect_equal "$(stat -c %s "$(message "$inbox" $uid)")" "$(stat -c %s "$(message "$files" $uid)")"
done
expect_equal "$(getfattr --absolute-names --only-values -n user.mailfs.state "$(message "$inbox" 1)")" damaged
stop

# All but the damaged places, with the size that was delivered.
start -f -o worker=off,damaged=partial
expect_equal "$(<"$mnt/.ctl/config/damaged")" partial
python3 - "$inbox" "$files" "$work/large" "$work/small" <<'PYTHON'
import errno, os, sys
inbox, files, large, small = sys.argv[1:]
whole, little = open(large, 'rb').read(), open(small, 'rb').read()

def bad(uid, data, offset, step):
    """Reads all of a message in steps; the bytes that cannot be read, as ranges."""
    ranges, at = [], 0
    fd = os.open(f'{inbox}/{uid:010}.eml', os.O_RDONLY)
    stored = open(f'{files}/{uid:010}.eml', 'rb').read()
    assert os.fstat(fd).st_size == len(data)
    while at < len(data):
        try:
            got = os.pread(fd, step, at)
            assert got and got == stored[at:at + len(got)], (uid, at)
            at += len(got)
        except OSError as failure:
            assert failure.errno == errno.EIO
            if ranges and ranges[-1][1] == at:
                ranges[-1][1] = at + 1
            else:
                ranges.append([at, at + 1])
            at += 1
    assert os.pread(fd, 10, len(data)) == b''
    os.close(fd)
    return ranges

for step in 100000, 4096:
    assert bad(1, whole, 0, step) == [[123457, len(whole)]]
    # Zeros beside the run were delivered or not: nobody can tell, they count.
    assert bad(2, whole, 0, step) == [[10001, 15001], [300000, 310000]]
    assert bad(3, whole, 0, step) == []
    assert bad(4, whole, 0, step) == []
    assert bad(6, whole, 0, step) == []
    assert bad(7, little, 0, step) == [[100, len(little)]]
PYTHON
expect_error EIO cat "$(message "$inbox" 5)"
expect_equal "$(head -c 123457 "$(message "$inbox" 1)" | sha256sum)" "$(sha256sum <"$(message "$files" 1)")"
expect_equal "$(sha256sum <"$(message "$inbox" 4)")" "$(sha256sum <"$work/large")"
dd if="$(message "$inbox" 2)" of="$work/rescued" bs=1 skip=15001 count=1000 status=none
expect_equal "$(sha256sum <"$work/rescued")" "$(tail -c +15002 "$work/large" | head -c 1000 | sha256sum)"
expect_equal "$(stat -c %s "$(message "$inbox" 1)")" "$size"
expect cmp "$work/large" "$(message "$inbox" 6)"
expect grep -q '^uuid' "$store/mailfs.conf"
expect [ "$(wc -l <"$mnt/.ctl/status")" -gt 10 ]
expect_error EIO cp "$(message "$inbox" 1)" "$work/copy"
expect_error EIO cat "$(message "$inbox" 2)"

# One that was put right while it is open is found to be so when it is opened again.
exec 5<"$(message "$inbox" 1)"
cp "$work/large" "$work/restored"
touch -r "$(message "$files" 1)" "$work/restored"
cat "$work/restored" >"$(message "$files" 1)"
within 20000 cmp "$work/large" "$(message "$inbox" 1)"
exec 5<&-
stop

run_mailfs() {
  mailfs -o damaged=some "$store" "$mnt" 2>&1
}
expect_equal "$(run_mailfs)" 'mailfs: -o damaged=some: no such value; see mailfs -h'
