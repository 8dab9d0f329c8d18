#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lost+found of a forensic mount: what is missing, and what only a broken index tells of, is described,
# very many things are listed once each, and nothing changes.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/forensic-lib.sh"

many=1500
make_disk
make_sample_store
mail=$store/mail/example.com/user/joe
lost=$mnt/.ctl/lost+found
mailstore -q flag joe@example.com 2 +Seen +Work
subject=$(tr -d '\r' <"$mail/Receipts/0000000001.eml" | sed -n 's/^Subject: //p')
rm "$mail/Receipts/0000000001.eml"
mailstore -q expunge joe@example.com/INBOX --uid 4 >"$work/out"
for i in $(seq "$many"); do
  echo "$i" >"$mail/Lists/stray $i"
done
seq -f "00000005-stray %g" "$many" | sort >"$work/names"
age

member() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2]))' "$1" "$2"
}
# look_at_all KIND COMMAND: the lost message is of that kind.
look_at_all() {
  start -f -o forensic
  find "$lost" "$mnt"/example.com/user/joe/*/.ctl/{orphans,expunged} -type f -exec cat {} + >"$work/read"
  find "$lost/orphans" -type f ! -name '*.json' -printf '%f\n' | sort | diff "$work/names" - >"$work/diff" ||
    complain_here "not all orphans, each once: $(head -3 "$work/diff")"
  expect_equal "$(find "$lost/orphans" -name '*.json' | wc -l)" "$many"
  expect_equal "$(<"$lost/orphans/00000005-stray 77")" 77
  one=$lost/$1/00000006-0000000001.eml.json
  expect_equal "$(find "$lost/missing" "$lost/index" -type f)" "$one" 'only what is known of it'
  expect_equal "$(member "$one" bytes)" False
  expect_equal "$(member "$one" uid)" 1
  expect_equal "$(member "$one" mailbox)" joe@example.com/Receipts
  expect_equal "$(member "$one" subject)" "$subject"
  expect_error EROFS rm -f "$one"
  expect_error EROFS mv "$lost/expunged/00000004-0000000004.eml" "$inbox/"
  "$2"
  stop
}

# A listing goes on where it was, wherever that is: the kernel is given the last place of a part of it
# after very many others, and all that follows comes.
resume() {
  python3 - "$lost/orphans" "$lost/expunged" "$work/names" <<'PYTHON'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def entries(fd, size):
    buffer = ctypes.create_string_buffer(size)
    count = libc.syscall(217, fd, buffer, size)  # getdents64 of x86-64
    assert count >= 0, os.strerror(ctypes.get_errno())
    at = 0
    while at < count:
        _, offset, length = struct.unpack_from('<QqH', buffer, at)
        yield buffer.raw[at + 19:at + length].split(b'\0')[0].decode(), offset
        at += length
directory, other, names = sys.argv[1:]
fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
seen, places = [], []
while page := list(entries(fd, 20000)):
    seen += [name for name, _ in page]
    places += page
for i in range(100):
    os.listdir(other)
wanted = [line.rstrip('\n') for line in open(names)]
assert sorted(n for n in seen if n[0] != '.' and not n.endswith('.json')) == wanted, len(seen)
for name, offset in (places[0], places[3], places[4], places[len(places) // 2], places[-1]):
    # A descriptor of its own: the kernel may hold the listing for that one.
    again = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.lseek(again, offset, os.SEEK_SET)
    rest = []
    while page := list(entries(again, 1 << 17)):
        rest += [n for n, _ in page]
    os.close(again)
    assert rest == seen[seen.index(name) + 1:], (name, len(rest), rest[:2])
PYTHON
}
[ "$(uname -m)" == x86_64 ] || resume() { :; }
unchanged look_at_all missing resume

# Of a mailbox whose directory is gone only the index of its user tells.
gone() {
  start -f -o forensic
  first=$lost/missing/00000006-0000000001.eml.json # before anything was listed
  expect_equal "$(member "$first" subject)" "$subject"
  expect_equal "$(find "$lost/missing" -name '00000006-*.json' | wc -l)" "$receipts"
  stop
}
receipts=$(($(find "$mail/Receipts" -name '*.eml' | wc -l) + 1))
mv "$mail/Receipts" "$work/Receipts"
age
unchanged gone
cp -a "$work/Receipts" "$mail/Receipts"

# A broken index tells what it still knows, and is no reason to show less of the rest.
allow_log 'salvaged|damaged|malformed|not a database|set aside'
printf 'nothing' | dd of="$store/index/example.com/user/joe.sqlite3" conv=notrunc status=none
age
unchanged look_at_all index true
rm -r "$mail/Receipts"
age
unchanged gone
