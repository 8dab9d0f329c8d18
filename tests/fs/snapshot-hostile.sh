#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What nobody should do with snapshots: strange names, too many of them, and dropping one that is in use.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
snapshots=$mnt/.ctl/snapshots

# The same store in another place, as somebody beside the mount.
other=$work/other
mkdir "$other"
mounts+=("$other")

start -f -o worker=off
mailfs -f -o worker=off "$store" "$other" 2>"$work/log.other" &
other_daemon=$!
within 10000 mountpoint -q "$other"

# Names with all kinds of bytes: found by what they were made as, and as they are listed.
python3 - "$snapshots" <<'PYTHON' || complain_here 'strange names'
import os, sys
os.chdir(os.fsencode(sys.argv[1]))
names = [b'a b', b'new\nline', b'\x1b[31m', b'bell\x07', b'\xff\xfe', b'100%', b'%41', b'-rf', b'\xe2\x80\xae', b'x' * 255,
         b'"quoted" \\', b"$(id)", b'*']
listed = {}
for name in names:
    before = set(os.listdir(b'.'))
    os.mkdir(name)
    (listed[name],) = set(os.listdir(b'.')) - before - {b'latest'}
    assert all(byte >= 32 and byte != 127 for byte in listed[name]), listed[name]
    assert os.path.samestat(os.stat(name), os.stat(listed[name])), name
    assert os.listdir(name) == [b'example.com'], name
    try:
        os.mkdir(name)
        assert False, name
    except FileExistsError:
        pass
for number, name in enumerate(names):
    os.rename(listed[name] if number % 2 else name, b'renamed\n')
    assert os.listdir(b'renamed\n') == [b'example.com']
    os.rmdir(b'renamed%0A' if number % 2 else b'renamed\n')
assert os.listdir(b'.') == [], os.listdir(b'.')
PYTHON
expect equal "$(tr -d '\n\t[:print:]' <"$mnt/.ctl/last_error" | wc -c)" 0

# As many as there can be, each with a tree of its own; one more is refused.
for i in $(seq 255); do
  mkdir "$snapshots/number-$i"
done
expect_error ENOSPC mkdir "$snapshots/number-256"
expect grep -q 'snapshot-take number-256.*ENOSPC.*255' "$mnt/.ctl/last_error"
# shellcheck disable=SC2016 # for the shells inside
expect_equal "$(printf '%s\0' "$snapshots"/number-* | xargs -0 -n 5 -P 8 sh -c \
  'for snapshot; do cat "$snapshot"/example.com/user/joe/INBOX/* | md5sum; done' - | sort | uniq -c)" \
  "    255 $(cat "$inbox"/* | md5sum)"
expect_equal "$(find "$snapshots" -mindepth 2 -printf '%i\n' | sort | uniq -d | wc -l)" 0
rmdir "$snapshots"/number-*
expect_equal "$(ls -A "$snapshots")" ''

# Somebody is in it when it is dropped, by this mount or beside it: that gives ESTALE, and never another
# snapshot, not even when every slot was given to another one meanwhile.
for where in "$snapshots" "$other/.ctl/snapshots"; do
  mkdir "$snapshots/old"
  [ "$where" == "$snapshots" ] || within 20000 ls "$where/old"
  python3 - "$snapshots" "$where" <<'PYTHON' || complain_here "used while it is dropped in $where"
import errno, os, sys, time
snapshots, where = sys.argv[1:]
os.chdir(f'{snapshots}/old/example.com/user/joe/INBOX')
walked = os.listdir('.')
held = os.open('0000000001.eml', os.O_RDONLY)
inode = os.stat('.').st_ino
os.rmdir(f'{where}/old')

def is_stale():
    try:
        os.stat('.'), os.listdir('.')
        return False
    except OSError as error:
        if error.errno not in (errno.ESTALE, errno.ENOENT):
            raise
        return True

for _ in range(1200):
    if is_stale():
        break
    time.sleep(0.05)
else:
    sys.exit('still there')
for i in range(300):
    os.mkdir(f'{snapshots}/{i}')
    os.listdir(f'{snapshots}/{i}/example.com/user/joe/INBOX')
    if i % 50 == 0 and not is_stale():
        sys.exit('it is another one')
    if i >= 200:
        os.rmdir(f'{snapshots}/{i - 200}')
if not is_stale() or os.path.exists(f'{snapshots}/old'):
    sys.exit('it is another one')
for i in range(100, 300):
    os.rmdir(f'{snapshots}/{i}')
PYTHON
done
expect_equal "$(ls -A "$snapshots")" ''

# What the kernel knows of those that were dropped beside it forgets, whatever they were called: there is
# always room for another one.
python3 - "$snapshots" "$other/.ctl/snapshots" <<'PYTHON' || complain_here 'more and more that was dropped is known'
import errno, os, sys, time
snapshots, beside = sys.argv[1:]

def look(name):
    end = time.monotonic() + 60
    while True:
        try:
            return os.listdir(f'{snapshots}/{name}/example.com/user/joe/INBOX')
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise

for i in range(300):
    os.mkdir(f'{beside}/{i}')
    look(f'{i}')
    os.rename(f'{snapshots}/{i}', f'{snapshots}/new\n{i}')
    if i % 2:
        look(f'new\n{i}')
    os.rmdir(f'{beside}/new\n{i}')
PYTHON
expect_equal "$(ls -A "$snapshots")" ''

# rm -r takes nothing away; rmdir does, also while somebody walks.
mkdir "$snapshots/kept"
rm -rf "$snapshots/kept" 2>/dev/null && complain_here 'rm -r of a snapshot'
expect_equal "$(find "$snapshots/kept" -name '*.eml' | wc -l)" "$(find "$mnt/example.com" -name '*.eml' | wc -l)"

# Whoever keeps hold of more snapshots that were dropped than a mount can tell apart gets no further one, and
# none is taken that he is not told of.
mailstore -q snapshot drop kept
timeout 300 python3 - "$snapshots" <<'PYTHON' || complain_here 'snapshots in use'
import errno, os, sys
held = []
def take(name):
    try:
        os.mkdir(f'{sys.argv[1]}/{name}')
        held.append(os.open(f'{sys.argv[1]}/{name}', os.O_PATH))
        os.rmdir(f'{sys.argv[1]}/{name}')
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
while take(len(held)):
    assert len(held) <= 255
assert len(held) > 200, len(held)
assert os.listdir(sys.argv[1]) == [], 'one was taken all the same'
for fd in held:
    os.close(fd)
while not take('again'):
    pass
PYTHON
expect grep -q '"snapshot-take 2[0-9]*".*"result":"EBUSY"' "$store/audit.jsonl"

# Many take, walk, rename and drop at the same time, here and beside. Whatever is found in a snapshot is
# right, and nothing fails for any reason but that the snapshot is gone.
cat >"$work/crowd.py" <<'PYTHON'
import errno, os, random, sys
roots, seed = sys.argv[1:3], int(sys.argv[3])
random.seed(seed)
gone = (errno.ENOENT, errno.ESTALE, errno.EEXIST)
for turn in range(120):
    root = random.choice(roots)
    name = f'{root}/{random.randrange(6)}'
    try:
        act = random.randrange(5)
        if act == 0:
            os.mkdir(name)
        elif act == 1:
            os.rmdir(name)
        elif act == 2:
            os.rename(name, f'{root}/{random.randrange(6)}')
        else:
            for path, _, files in os.walk(name, onerror=lambda error: (_ for _ in ()).throw(error)):
                for file in files:
                    content = open(f'{path}/{file}', 'rb').read()
                    if path.endswith('/Crowd'):
                        assert content == b'Subject: crowd\n\n%d\n' % int(file[:10]), path
    except OSError as error:
        if error.errno not in gone:
            raise
PYTHON
mailstore -q mailbox create joe@example.com/Crowd
crowd=()
for seed in 1 2 3 4; do
  timeout 300 python3 "$work/crowd.py" "$snapshots" "$other/.ctl/snapshots" "$seed" &
  crowd+=($!)
done
for i in $(seq 20); do
  printf 'Subject: crowd\n\n%d\n' "$i" | mailstore -q deliver joe@example.com/Crowd >"$work/out"
done
for pid in "${crowd[@]}"; do
  wait "$pid" || complain_here 'somebody in the crowd failed'
done
rmdir "$snapshots"/* 2>/dev/null || true
expect_equal "$(ls -A "$snapshots")" ''

umount "$other"
wait "$other_daemon" || complain_here 'the other daemon failed'
expect_equal "$(<"$work/log.other")" ''
stop
