#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Flags are set by an attribute: on disk when the answer comes, seen by everybody, and brought back by whatever
# brings attributes back.
# shellcheck source-path=SCRIPTDIR disable=SC2016 # keywords may begin with a dollar
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f -o worker=off,allow_other
message=$inbox/0000000001.eml
in_store=$store/mail/example.com/user/joe/INBOX/0000000001.eml

flags() {
  getfattr --absolute-names --only-values -n user.mailfs.flags "$1" 2>/dev/null || true
}
get() {
  getfattr --absolute-names --only-values -n "user.mailfs.$1" "$2"
}
set_flags() {
  setfattr -n user.mailfs.flags -v "$1" "$2"
}
audited() {
  grep -c '"through":"user.mailfs.flags"' "$mnt/.ctl/audit" || true
}

# Whatever the index says: the state is on the file.
set_flags '' "$message"
modseq=$(get modseq "$message")
mtime=$(stat -c %y "$message") ctime=$(stat -c %z "$message")
set_flags '\Seen $Label1  \flagged Work	Work' "$message"
expect_equal "$(flags "$message")" '\Flagged \Seen $Label1 Work'
expect [ "$(get modseq "$message")" -gt "$modseq" ]
expect grep -q 'Label1' <(getfattr --only-values -n user.mailfs.state "$in_store")
expect_equal "$(mailstore list -l joe@example.com/INBOX | grep -c 'Label1')" 1
# The kernel keeps attributes for a day; who asks sees the change at once.
expect [ "$(stat -c %z "$message")" != "$ctime" ]
expect_equal "$(stat -c %z "$message")" "$(stat -c %z "$in_store")"
expect_equal "$(stat -c %y "$message")" "$mtime"
expect_equal "$(get unseen "$inbox")" "$(find "$inbox" -maxdepth 1 -name '*.eml' | while read -r m; do
  [[ $(flags "$m") == *Seen* ]] || echo; done | wc -l)"

# What is so already changes nothing, and is not told of.
modseq=$(get modseq "$message") ctime=$(stat -c %z "$message") told=$(audited)
set_flags 'Work $Label1 \Seen \Flagged' "$message"
expect_equal "$(get modseq "$message") $(stat -c %z "$message") $(audited)" "$modseq $ctime $told"

# All the flags are taken away by removing the attribute, or an empty value.
setfattr -x user.mailfs.flags "$message"
expect_equal "$(flags "$message")" ''
expect_error ENODATA setfattr -x user.mailfs.flags "$message"
set_flags '\Draft' "$message"
setfattr -n user.mailfs.flags "$message"
expect_equal "$(getfattr --absolute-names -d -m - "$message")" ''
attr -q -s mailfs.flags "$message" <<<'\Answered' >"$work/out"
expect_equal "$(flags "$message")" '\Answered'

# Keywords that begin with a sign are keywords.
set_flags '+late -early' "$message"
expect_equal "$(flags "$message")" '+late -early'

# create and replace mean what setxattr(2) says.
python3 - "$message" <<'PYTHON' || complain_here 'create and replace'
import errno, os, sys
path, name = sys.argv[1], 'user.mailfs.flags'
def fails(code, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == code, error
    else:
        raise AssertionError(arguments)
os.removexattr(path, name)
fails(errno.ENODATA, os.setxattr, path, name, b'\\Seen', os.XATTR_REPLACE)
os.setxattr(path, name, b'\\Seen', os.XATTR_CREATE)
fails(errno.EEXIST, os.setxattr, path, name, b'\\Draft', os.XATTR_CREATE)
os.setxattr(path, name, b'\\Draft', os.XATTR_REPLACE)
assert os.getxattr(path, name) == b'\\Draft'

# What is no flag: the value stays, the errno says what is wrong.
for value in (b'\\Nonsense', b'a\0b', b'\0', b'\\Seen\0', b'a\x01b', b'\x1b[2J', b'\xff\xfe', 'Grüße'.encode(),
              b'a(b', b'"quoted"', b'\\Seen\n\\Draft', b'\r\n', b'a' * 65535 + b'*', b'\\Seen,\\Draft'):
    fails(errno.EINVAL, os.setxattr, path, name, value)
for value in (b' '.join(b'keyword%05d' % number for number in range(4600)), b'k' * 65536):
    fails(errno.E2BIG, os.setxattr, path, name, value)
fails(errno.E2BIG, os.setxattr, path, name, b'k' * 65537)
assert os.getxattr(path, name) == b'\\Draft'
os.setxattr(path, name, b' ' * 65536)
assert 'user.mailfs.flags' not in os.listxattr(path)
os.setxattr(path, name, b'k' * 900)
assert os.getxattr(path, name) == b'k' * 900
PYTHON
expect grep -q 'neither a system flag nor a valid keyword' "$mnt/.ctl/last_error"
expect_equal "$(LC_ALL=C tr -d '\n\t -~' <"$mnt/.ctl/last_error" | wc -c)" 0

# Everything else about a message stays as it is, and so do its bytes.
check_only() {
  expect_error EPERM setfattr -n "user.mailfs.$1" -v 7 "$message"
  expect_error EPERM setfattr -x "user.mailfs.$1" "$message"
}
for name in uid internaldate modseq state damage sha256 subject from to date message-id envelope \
  bodystructure store_path all; do
  check_only "$name"
done
setfattr -n user.mailfs.uid -v 1 "$message"
expect_error EINVAL setfattr -n user.mailfs.flags -v '\Seen' "$inbox"
expect_error EINVAL setfattr -n user.mailfs.Flags -v '\Seen' "$message"
expect_error EINVAL setfattr -n user.mailfs. -v '\Seen' "$message"
expect_error EROFS touch "$message"
expect_error EROFS setfattr -n user.flags -v x "$message"

# Who may not write may not set; the group may read only.
if command -v setpriv >/dev/null; then
  chmod a+rx "$work" "$work/.." 2>/dev/null || true
  as() {
    setpriv --reuid "$1" --regid "$2" --clear-groups "${@:3}"
  }
  stop
  start -f -o worker=off,allow_other,uid=1234,gid=5678,dmode=755
  as 1234 1 setfattr -n user.mailfs.flags -v owner "$message"
  expect_equal "$(flags "$message")" owner
  expect_equal "$(as 7 5678 getfattr --absolute-names --only-values -n user.mailfs.flags "$message")" owner
  expect_error EACCES as 7 5678 setfattr -n user.mailfs.flags -v group "$message"
  expect_error EACCES as 7 7 setfattr -n user.mailfs.flags -v other "$message"
  expect_error EACCES as 7 7 setfattr -x user.mailfs.flags "$message"
  expect_error EACCES as 7 7 getfattr -n user.mailfs.flags "$message"
  expect_error EACCES as 7 7 setfattr -n user.mailfs.cmd.check -v 1 "$inbox"
  expect_equal "$(flags "$message")" owner
  expect [ "$(grep -c '"uid":1234.*"through":"user.mailfs.flags"' "$mnt/.ctl/audit")" -eq 1 ]
fi
stop

# Sixteen at once: each answer is true, and what is there in the end is what one of them set.
start -f -o worker=off
python3 - "$message" <<'PYTHON' || complain_here 'sixteen at once'
import errno, os, sys, threading
path, name = sys.argv[1], 'user.mailfs.flags'
values = [b'\\Seen', b''] + [b'set%02d%s' % (number, b' \\Flagged' if number % 2 else b'') for number in range(14)]
seen = set()
def run(value):
    for _ in range(20):
        os.setxattr(path, name, value)
        try:
            seen.add(os.getxattr(path, name))
        except OSError as error:
            assert error.errno == errno.ENODATA, error
threads = [threading.Thread(target=run, args=(value,)) for value in values]
failures = []
threading.excepthook = lambda args: failures.append(args)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
spelled = {b' '.join(sorted(value.split(), reverse=value.startswith(b'set'))) for value in values}
spelled = {b'\\Flagged ' + v.split()[0] if b'Flagged' in v else v for v in values}
assert seen <= spelled, seen - spelled

# Of those who make it, one does.
os.setxattr(path, name, b'')
made = []
def make(number):
    try:
        os.setxattr(path, name, b'made%d' % number, os.XATTR_CREATE)
        made.append(number)
    except OSError as error:
        assert error.errno == errno.EEXIST, error
threads = [threading.Thread(target=make, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
assert len(made) == 1 and os.getxattr(path, name) == b'made%d' % made[0], made
PYTHON
# And beside a tool, whose changes and ours are all there.
seq 20 | while read -r i; do mailstore flag joe@example.com 2 "+tool$i"; done &
for i in $(seq 20); do set_flags "mount$i" "$inbox/0000000003.eml"; done
wait $!
expect_equal "$(flags "$inbox/0000000002.eml" | grep -o 'tool' | wc -l)" 20
expect_equal "$(flags "$inbox/0000000003.eml")" mount20
stop
mailstore -q check --full >"$work/out" || complain_here "check: $(<"$work/out")"

# What is there after all indexes are lost is what was set.
rm -r "$store/index"
start -f -o worker=off
expect_equal "$(flags "$inbox/0000000003.eml")" mount20
set_flags 'from-files' "$inbox/0000000003.eml"
expect_equal "$(flags "$inbox/0000000003.eml")" from-files
stop
mailstore -q reconstruct -r >"$work/out" || true
start -f -o worker=off
expect_equal "$(flags "$inbox/0000000003.eml")" from-files

# Another mount, whose kernel keeps what it was told, learns of it.
mkdir "$work/other"
mounts+=("$work/other")
env --default-signal=INT mailfs -f -o worker=off,data=ro "$store" "$work/other" 2>"$work/other-log" &
other=$!
until mountpoint -q "$work/other"; do
  kill -0 "$other"
done
elsewhere=$work/other/example.com/user/joe/INBOX/0000000003.eml
for i in 1 2 3; do
  stat "$elsewhere" >"$work/out"
  set_flags "round$i" "$inbox/0000000003.eml"
  expect_equal "$(flags "$elsewhere")" "round$i"
  is_told() {
    [ "$(stat -c %z "$elsewhere")" == "$(stat -c %z "$inbox/0000000003.eml")" ]
  }
  within 20000 is_told
done
umount "$work/other"
wait "$other" || complain_here "the other mount: $(<"$work/other-log")"
if mailfs -f -o data=rw "$store" "$work/other" 2>"$work/out"; then
  complain_here 'data=rw was taken'
fi
expect grep -q 'no such value' "$work/out"

# Copies bring flags back: a dump, rsync, cp.
set_flags '\Seen one' "$inbox/0000000001.eml"
set_flags '' "$inbox/0000000002.eml"
set_flags '\Flagged $three +3' "$inbox/0000000003.eml"
all_flags() {
  (cd "$mnt" && find . -name '*.eml' | sort | while read -r m; do
    printf '%s %s\n' "$m" "$(flags "$m")"
  done)
}
spoil() {
  set_flags '\Deleted' "$inbox/0000000001.eml"
  set_flags 'stray' "$inbox/0000000002.eml"
  set_flags '' "$inbox/0000000003.eml"
}
all_flags >"$work/wanted"
(cd "$mnt" && getfattr -R -d -m '^user\.mailfs\.' .) >"$work/dump"
rsync -aX "$mnt/" "$work/copy"
cp -a --preserve=xattr "$mnt/example.com/user/joe/INBOX" "$work/inbox"

spoil
(cd "$mnt" && setfattr --restore="$work/dump") || complain_here 'setfattr --restore'
setfattr -x user.mailfs.flags "$inbox/0000000002.eml" # a dump says nothing of what it has not
all_flags | diff "$work/wanted" - || complain_here 'setfattr --restore did not bring the flags back'

spoil
rsync -aX "$work/copy/" "$mnt" || complain_here 'rsync -aX'
all_flags | diff "$work/wanted" - || complain_here 'rsync did not bring the flags back'

spoil
cp --attributes-only --preserve=xattr "$work"/inbox/*.eml "$inbox" || complain_here 'cp'
setfattr -x user.mailfs.flags "$inbox/0000000002.eml"
all_flags | diff "$work/wanted" - || complain_here 'cp did not bring the flags back'
stop

# In a mount that shows only what is listed, flags are; in one for reading only the kernel refuses.
start -f -o xattrs=data,worker=off
set_flags 'data' "$message"
expect_equal "$(flags "$message")" data
expect_error EOPNOTSUPP setfattr -n user.mailfs.cmd.check -v 1 "$inbox"
expect_error EOPNOTSUPP setfattr -x user.mailfs.cmd.check "$inbox"
stop
start -f -o xattrs=none,worker=off
expect_error EOPNOTSUPP set_flags none "$message"
expect_error EOPNOTSUPP setfattr -x user.mailfs.flags "$message"
expect_error EOPNOTSUPP getfattr -n user.mailfs.flags "$message"
before=$(requests)
for i in 1 2 3 4 5; do
  getfattr -d -m - "$inbox"/*.eml >"$work/out" 2>&1 || true
done
expect [ "$(requests)" -lt $((before + 25)) ] # and not one for each message
stop
start -f -o ro
expect_error EROFS set_flags ro "$message"
expect_error EROFS setfattr -x user.mailfs.flags "$message"
if mount -o remount,rw "$mnt" 2>/dev/null; then
  expect_error EROFS set_flags remounted "$message"
  expect_error EROFS setfattr -n user.mailfs.cmd.repair -v 1 "$inbox"
fi
allow_log 'audit: the store .* is open read only'
expect_equal "$(flags "$message")" data
stop
