#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source-path=SCRIPTDIR
# parts/ shows what is inside messages: names by which it is found, safe names of attachments, exact
# sizes, nothing for who does not look, and EIO where the message is not what was delivered.
source "$(dirname "$0")/lib.sh"
make_sample_store
parts=$mnt/.ctl/parts/example.com/user/joe

cat >"$work/mail" <<'END'
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

sch=F6n
--x
Content-Type: application/x-sh; name="../../.profile"

echo hostile
--x
Content-Disposition: attachment; filename="a b.bin"
Content-Transfer-Encoding: base64

AAEC
--x
Content-Disposition: attachment; filename="A B.bin"

2
--x
Content-Type: message/rfc822

Subject: inner

forwarded
--x--
END
mailstore -q mailbox create joe@example.com/Parts/2 >"$work/out"
mailstore -q deliver joe@example.com/Parts <"$work/mail" >"$work/out"
{
  printf 'Content-Disposition: attachment; filename=big\nContent-Transfer-Encoding: base64\n\n'
  head -c 3000000 /dev/urandom | tee "$work/big" | base64
} | mailstore -q deliver joe@example.com/Parts >"$work/out"
start -f

# Names.
expect equal "$(ls "$mnt/.ctl/parts")" example.com
expect equal "$(ls "$parts/Parts")" $'0000000001\n0000000002\n2'
expect equal "$(ls "$parts/Parts/1")" $'A B-2.bin\n_._.._.profile\na b.bin\nheader.txt\nmessage\ntext.txt'
expect equal "$(ls "$parts/Parts/0000000001")" "$(ls "$parts/Parts/0000000001.eml")"
expect equal "$(ls "$parts/Parts/2")" '' # the mailbox
expect equal "$(ls "$parts/Parts/02")" $'big\nheader.txt'
for name in 3 0 x 4294967296 99999999999 0000000001.eml.json; do
  expect_error ENOENT ls "$parts/Parts/$name"
done
expect_error ENOENT cat "$parts/Parts/1/none"

# Bytes.
expect equal "$(cat "$parts/Parts/1/text.txt")" 'schön'
expect equal "$(head -1 "$parts/Parts/1/header.txt")" 'Subject: Grüße'
expect equal "$(od -An -tx1 "$parts/Parts/1/a b.bin")" ' 00 01 02'
expect equal "$(cat "$parts/Parts/1/_._.._.profile")" 'echo hostile'
expect equal "$(cat "$parts/Parts/1/message/text.txt")" 'forwarded'
expect equal "$(stat -c %s "$parts/Parts/02/big")" 3000000
expect cmp "$parts/Parts/02/big" "$work/big"
cp -r "$mnt/.ctl/parts" "$work/copy"
expect cmp "$work/copy/example.com/user/joe/Parts/0000000002/big" "$work/big"
expect diff -r "$mnt/.ctl/parts" "$work/copy"
expect equal "$(find "$mnt" -name parts)" '' # not in a backup's way

# Nothing can be changed.
expect_error EPERM touch "$parts/Parts/1/new"
expect_error EPERM rm "$parts/Parts/1/text.txt"
expect_error EPERM rmdir "$parts/Parts/1"

# What is damaged is listed, and cannot be read; what is restored can.
file=$store/mail/example.com/user/joe/Parts/0000000001.eml
cp -p --preserve=all "$file" "$work/good"
stop
sed -i s/hostile/hosTile/ "$file"
allow_log 'does not have the bytes that were delivered|job [0-9]+: repair '
start -f
expect [ -e "$parts/Parts/1/text.txt" ]
expect_error EIO cat "$parts/Parts/1/text.txt"
expect_error EIO cat "$parts/Parts/1/a b.bin"
stop
touch -d 2400-01-01 "$file" # beyond what fits
start -f -o ro,forensic,damaged=raw
expect equal "$(stat -c %Y "$parts/Parts/1/text.txt" | cut -c1-4)" 9223
expect equal "$(cat "$parts/Parts/1/_._.._.profile")" 'echo hosTile'
stop
start -f
cat "$work/good" >"$file"
expect equal "$(cat "$parts/Parts/1/text.txt")" 'schön'

# A message that went is no directory any more.
mailstore -q flag joe@example.com/Parts 2 +Deleted >"$work/out"
mailstore -q expunge joe@example.com/Parts >"$work/out"
expect_error ENOENT ls "$parts/Parts/02"
stop
