#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All of the real mail: in, and out of the mount again byte for byte.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_corpora
needs_fuse

mailstore -q init
find "$corpora/eml" -name '*.eml' -print0 | sort -z | xargs -0 sha256sum | cut -c-64 | sort >"$work/sent"
total=$(wc -l <"$work/sent")
run import --format eml "$corpora/eml" joe@example.com
expect_status 0
expect_out "$total imported, 0 known, 0 failed of $total messages"
run import --format mbox "$corpora/mbox" jane@example.com
# A source may hold what is no mbox: named, counted, and the rest comes in.
[ "$status" -eq 0 ] || [ "$status" -eq 65 ] || complain 'import of the mbox files'
run --json import --format mbox "$corpora/mbox" jane@example.com
expect_json 'rows[0]["imported"] == 0' 'rows[0]["known"] > 0'

mount_store
find "$work/mnt/example.com/user/joe" -name '*.eml' -print0 | xargs -0 sha256sum | cut -c-64 | sort >"$work/got"
cmp "$work/sent" "$work/got" || complain 'messages in the mount differ from their source'
# Sizes are right without reading.
find "$work/mnt/example.com/user/joe" -name '*.eml' -printf '%s\n' | sort -n >"$work/sizes"
find "$corpora/eml" -name '*.eml' -printf '%s\n' | sort -n | cmp - "$work/sizes" || complain 'sizes differ'
unmount_store

# Some of it has NUL bytes; nothing else is wrong.
run check --full
expect_equal "$(cut -d' ' -f1 "$work/out" | sort -u)" nul
mailstore list joe@example.com | while read -r mailbox; do
  mailstore list --json "$mailbox"
  mailstore list "$mailbox" >&3
done >"$work/out" 3>"$work/text"
expect_json "len(rows) == $total" 'all(r["damage"] in ([], ["nul"]) or "limit" in r["damage"] for r in rows)'
LC_ALL=C grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$work/text" && complain 'control bytes were printed'
iconv -f UTF-8 -t UTF-8 "$work/text" >/dev/null || complain 'what was printed is not UTF-8'

rm -r "$store/index" "$store/mailboxes.sqlite3"
run reconstruct -m
expect_status 0
run reconstruct -r
expect_status 0
run import --format eml "$corpora/eml" joe@example.com
expect_out "0 imported, $total known"
