#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Extended attributes: which are listed, what each says, and what every other name gets.
# shellcheck source-path=SCRIPTDIR disable=SC2016 # keywords may begin with a dollar
source "$(dirname "$0")/lib.sh"

make_sample_store
cat >"$work/message" <<'MESSAGE'
Message-ID: <one@example.com>
Date: Mon, 3 Jun 2024 08:15:00 +0200
From: =?utf-8?q?J=C3=B6rg?= <joerg@example.com>
To: joe@example.com
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and a long
	second line

Hello.
MESSAGE
mailstore -q deliver -c --date @1717395300 'jane@example.com/Grüße %' <"$work/message" >"$work/out"
mailstore -q deliver --date @1717395301 --flags '\Seen \Answered Work $Label1' \
  'jane@example.com/Grüße %' <"$work/message"

start -f
box=$(echo "$mnt"/example.com/user/jane/Gr*)
one=$box/0000000001.eml two=$box/0000000002.eml

get() {
  getfattr --absolute-names --only-values -n "user.mailfs.$1" "$2"
}
list() {
  getfattr --absolute-names -d -m - "$1" | sed -n 's/^\(user[^=]*\)=.*/\1/p' | sort | tr '\n' ' '
}

# What backups carry along.
expect_equal "$(list "$one")" ''
expect_equal "$(list "$two")" 'user.mailfs.flags '
expect_equal "$(get flags "$two")" '\Answered \Seen $Label1 Work'
expect_equal "$(list "$box")" 'user.mailfs.name user.mailfs.number user.mailfs.uidnext user.mailfs.uidvalidity '
expect_equal "$(list "$inbox")" 'user.mailfs.number user.mailfs.uidnext user.mailfs.uidvalidity '
for directory in "$inbox" "$mnt/example.com/user/jane" "$mnt/example.com/user" "$mnt/example.com"; do
  expect_equal "$(get number "$directory")" $(($(stat -c %i "$directory") >> 32))
done
expect_equal "$(list "$mnt/example.com/user/jane")$(list "$mnt/example.com")" 'user.mailfs.number user.mailfs.number '
expect_equal "$(list "$mnt")$(list "$mnt/.ctl")" ''
expect_equal "$(get name "$box")" 'Grüße %'
expect_equal "$(get uidnext "$box")" 3
expect [ "$(get uidvalidity "$box")" -gt 0 ]

# What is told when asked by name.
expect_equal "$(get uid "$two")" 2
expect_equal "$(get internaldate "$one")" 2024-06-03T06:15:00Z
expect [ "$(get modseq "$two")" -gt "$(get modseq "$one")" ]
expect_equal "$(get state "$one")" ok
expect_equal "$(get sha256 "$one")" "$(sha256sum <"$work/message" | cut -d' ' -f1)"
expect_equal "$(get subject "$one")" 'Grüße and a long second line'
expect_equal "$(get from "$one")" 'Jörg <joerg@example.com>'
expect_equal "$(get to "$one")" joe@example.com
expect_equal "$(get date "$one")" 'Mon, 3 Jun 2024 08:15:00 +0200'
expect_equal "$(get message-id "$one")" '<one@example.com>'
expect [ "$(get envelope "$one" | cut -c1-33)" == '("Mon, 3 Jun 2024 08:15:00 +0200"' ]
expect [ "$(get bodystructure "$one" | cut -c1-16)" == '("TEXT" "PLAIN" ' ]
expect_equal "$(get store_path "$one")" "$(echo "$store"/mail/example.com/user/jane/Gr*/0000000001.eml)"
expect_error ENODATA get damage "$one"
expect_equal "$(get all "$two" | sed -n 's/^flags //p; s/^uid //p' | tr '\n' ,)" '\Answered \Seen $Label1 Work,2,'
expect_equal "$(get messages "$box")" 2
expect_equal "$(get unseen "$box")" 1
expect_equal "$(get bytes "$box")" "$((2 * $(stat -c %s "$work/message")))"
expect_equal "$(get rmessages "$box")" 2
expect_equal "$(get rbytes "$mnt/example.com/user/jane")" "$(get bytes "$box")"
expect_equal "$(get rmessages "$mnt/example.com/user/joe")" 8
expect_equal "$(get expunged "$box")" 0
expect [ "$(get highestmodseq "$box")" -ge "$(get modseq "$two")" ]
expect_error ENODATA get last_repair "$box"
expect_equal "$(get health "$box")$(get health "$mnt/example.com/user/jane")" okok
expect_equal "$(get all "$box" | sed -n 's/^messages //p')" 2
expect_equal "$(get all "$mnt/example.com/user/joe" | sed -n 's/^rmessages //p')" 8

# What is not there, in every namespace.
for object in "$one" "$box" "$mnt" "$mnt/.ctl/status" "$mnt/.ctl"; do
  for name in nonsense subject.x '' cmd.check job; do
    expect_error ENODATA get "$name" "$object"
  done
  expect_error ENODATA getfattr -n user.DOSATTRIB "$object"
  for name in security.selinux trusted.overlay.opaque system.posix_acl_access security.capability; do
    expect_error EOPNOTSUPP getfattr -n "$name" "$object"
  done
done
expect_error ENODATA get messages "$one"
expect_error ENODATA get uid "$box"

# Sizes, as getxattr(2) and listxattr(2) have them.
python3 - "$two" <<'PYTHON' || complain_here 'sizes of values and lists'
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
path = sys.argv[1].encode()
def call(function, *arguments):
    size = arguments[-1]
    buffer = ctypes.create_string_buffer(size) if size else None
    result = getattr(libc, function)(path, *arguments[:-1], buffer, size)
    return -ctypes.get_errno() if result < 0 else result
value, names = len(r'\Answered \Seen $Label1 Work'), len('user.mailfs.flags\0')
assert call('getxattr', b'user.mailfs.flags', 0) == value
assert call('getxattr', b'user.mailfs.flags', value) == value
assert call('getxattr', b'user.mailfs.flags', value - 1) == -errno.ERANGE
assert call('listxattr', 0) == names
assert call('listxattr', names) == names
assert call('listxattr', names - 1) == -errno.ERANGE
PYTHON

# A value that does not fit is cut; control bytes are escaped.
python3 - "$work/long" <<'PYTHON'
import sys
with open(sys.argv[1], 'w') as out:
    out.write('Subject: a\001b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n')
    for number in range(2000):
        out.write('--x\r\nContent-Description: part %d\001of many\r\n\r\nx\r\n' % number)
    out.write('--x--\r\n')
PYTHON
mailstore -q deliver joe@example.com <"$work/long" >"$work/out"
long=$inbox/$(printf '%010u.eml' "$(<"$work/out")")
within 20000 cmp "$work/long" "$long"
expect_equal "$(get bodystructure "$long" | wc -c)" 65536
expect [ "$(get all "$long" | LC_ALL=C tr -d '\n\t -~\200-\377' | wc -c)" -eq 0 ]

# What cannot be set, each refusal saying why. (Flags are set in xattr-flags.sh, commands given in xattr-commands.sh.)
set_to() {
  setfattr -n "$1" -v "$2" "$3"
}
expect_error EPERM set_to user.mailfs.uid 7 "$one"
expect_error EPERM set_to user.mailfs.uidnext 7 "$box"
expect_error EPERM set_to user.mailfs.uidvalidity 7 "$box"
expect_error EPERM set_to user.mailfs.subscribed 1 "$box"
expect_error EPERM set_to user.mailfs.all 1 "$mnt"
expect_error EPERM setfattr -x user.mailfs.name "$box"
expect_error EINVAL set_to user.mailfs.nonsense 7 "$one"
expect_error EINVAL set_to user.mailfs.nonsense 7 "$mnt"
expect_error EROFS set_to user.other x "$one"
expect_error EOPNOTSUPP set_to trusted.other x "$one"
expect_error EPERM set_to user.mailfs.uid 7 "$mnt/.ctl/status"
expect_error EPERM set_to user.mailfs.cmd.check 1 "$mnt/.ctl"
expect_error ENODATA setfattr -x user.mailfs.nonsense "$two"
expect_error ENODATA setfattr -x user.other "$two"
# But for what is so already, as when a copy is copied back.
set_to user.mailfs.uidnext "$(get uidnext "$box")" "$box"
set_to user.mailfs.uidvalidity "$(get uidvalidity "$box")" "$box"
set_to user.mailfs.name 'Grüße %' "$box"

# rsync, tar and cp carry what is listed, and nothing else.
rsync -aX "$mnt/example.com/user/jane/" "$work/copy/"
expect_equal "$(cd "$work/copy" && getfattr -R -d -m - . | grep -c '^user\.mailfs')" 6
expect_equal "$(getfattr --only-values -n user.mailfs.flags "$work"/copy/Gr*/0000000002.eml)" '\Answered \Seen $Label1 Work'
stop

start -f -o xattrs=data
expect_equal "$(list "$two")" 'user.mailfs.flags '
expect_error ENODATA get uid "$two"
expect_error ENODATA get all "$two"
stop
start -f -o xattrs=none
expect_equal "$(list "$two")" ''
expect_error EOPNOTSUPP get flags "$two"
stop
