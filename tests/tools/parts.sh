#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore parts: what is inside a message, as a list, one by one, and in a directory.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
cat >"$work/mail" <<'END'
Subject: sub
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

sch=F6n
--x
Content-Disposition: attachment; filename="../../escape"
Content-Transfer-Encoding: base64

AAEC
--x
Content-Type: message/rfc822

Subject: =?utf-8?q?=1B[2J_inner?=

forwarded
--x--
END
mailstore -q deliver -c joe@example.com <"$work/mail" >/dev/null

run parts joe@example.com 1
expect_status 0
expect_no_err
expect_out 'text/plain                  text.txt'
expect_out '3 B  text/plain                  _._.._escape'
expect_out 'message/header.txt'
run --json parts joe@example.com 1
expect_json '[row["path"] for row in rows if row["kind"] == "attachment"] == ["_._.._escape"]' \
  '{row["type"] for row in rows} == {"part"}' 'rows[1]["size"] == 6 and rows[1]["raw_size"] == 7' \
  'rows[1]["charset"] == "iso-8859-1"'

run parts joe@example.com 1 text.txt message/text.txt
expect_equal "$out" schönforwarded
expect_equal "$(mailstore parts joe@example.com 1 message/header.txt)" 'Subject:  [2J inner'
run parts joe@example.com 1 none
expect_status 66
expect_one_error
run parts joe@example.com 1 message
expect_status 66
expect_one_error
run parts joe@example.com 2
expect_status 66
run parts joe@example.com
expect_status 64

# A directory of its own, and nothing outside it.
mkdir "$work/deep"
run parts --output "$work/deep/out" joe@example.com 1
expect_status 0
expect_no_out
expect_equal "$(cd "$work/deep" && find . | sort | tr '\n' ' ')" \
  '. ./out ./out/_._.._escape ./out/header.txt ./out/message ./out/message/header.txt ./out/message/text.txt ./out/text.txt '
expect_equal "$(od -An -tx1 "$work/deep/out/_._.._escape")" ' 00 01 02'
run parts --output "$work/deep/out" joe@example.com 1
expect_status 73
expect_one_error

# Deeper than a path can be.
python3 - >"$work/nested" <<'PYTHON'
for _ in range(120):
    print('Content-Type: message/rfc822; name="%s"\n' % ('n' * 150))
PYTHON
mailstore -q deliver joe@example.com <"$work/nested" >/dev/null
run parts --output "$work/deep/nested" joe@example.com 2
expect_status 0
expect_err 'not all parts'
expect_equal "$(python3 - "$work/deep/nested" <<'PYTHON'
import os, sys
os.chdir(sys.argv[1])
depth = 0
while [name for name in os.listdir() if os.path.isdir(name)]:
    os.chdir([name for name in os.listdir() if os.path.isdir(name)][0])
    depth += 1
print(depth)
PYTHON
)" 100

# Damage is not handed out unasked.
sed -i s/forwarded/FORwarded/ "$(find "$store/mail" -name 0000000001.eml)"
run parts joe@example.com 1
expect_status 74
expect_equal "$(mailstore parts --damaged joe@example.com 1 message/text.txt)" FORwarded
