#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real mail as evidence: byte for byte in a forensic mount, each message taken apart under .ctl/parts, attributes and
# texts without control bytes, searches that say the same with and without an index of the text, a bag that is whole;
# and the store stays as it is.
# Every eighth message is looked at, or all of them where MAILFS_CORPORA_ALL is set.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/forensic-lib.sh"
needs_corpora

every=8
[ -z "${MAILFS_CORPORA_ALL:-}" ] || every=1
mkdir "$work/mail"
find "$corpora/eml" -name '*.eml' | sort | awk -v every="$every" 'NR % every == 1 % every' |
  xargs cp -t "$work/mail"
mailstore -q init
mailstore -q import --format eml "$work/mail" joe@example.com
[ "$every" -gt 1 ] || mailstore -q import --format mbox "$corpora/mbox" jane@example.com >"$work/out" 2>&1 || true

# Looks at everything, and prints each fault.
cat >"$work/walk.py" <<'PYTHON'
import hashlib, os, stat, sys, unicodedata

mnt, mail = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])

def digest(data):
    return hashlib.sha256(data).hexdigest()

def printable(text):
    return not any(unicodedata.category(c) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp') for c in text)

def read(entry):
    with open(entry.path, 'rb') as file:
        data = file.read()
    if len(data) != entry.stat().st_size:
        print('size', entry.path, entry.stat().st_size, len(data))
    return data

def look_at_messages(folder, found):
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            look_at_messages(entry.path, found)
            continue
        found.append(digest(read(entry)))
        for name in os.listxattr(entry.path):
            os.getxattr(entry.path, name)
        shown = os.getxattr(entry.path, 'user.mailfs.all').decode()
        if any(c < ' ' and c != '\n' or c == '\x7f' for c in shown):
            print('attributes', entry.path)

def look_at_parts(folder):
    """How many files there are; names are safe, and what is text can be read as such."""
    files, names = 0, set()
    for entry in os.scandir(folder):
        name = entry.name.decode()
        if name in names or name.startswith('.') or not printable(name):
            print('name', entry.path)
        names.add(name)
        if entry.is_dir(follow_symlinks=False):
            files += look_at_parts(entry.path)
        elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            print('type', entry.path)
        else:
            files += 1
            data = read(entry)
            if name.startswith(('header', 'text')) and name.endswith('.txt'):
                data.decode()
    return files

found = []
look_at_messages(mnt, found)
sent = [digest(open(os.path.join(mail, name), 'rb').read()) for name in os.listdir(mail)]
if set(sent) - set(found) or len(found) < len(sent):
    print('messages', len(sent), len(found))
files = look_at_parts(mnt + b'/.ctl/parts')
if files < len(found): # each has its header
    print('parts', files, len(found))
PYTHON

queries=('from:a' 'subject:re' 'body:the' 'text:über' '-body:e' 'since:2002-01-01 larger:5000' 'body:"of the"')
ask() {
  local query
  for query in "${queries[@]}"; do
    echo "$query"
    mailstore "$@" search -p -- "$query" || true
  done
}

look_at_all() {
  start -f -o ro,forensic
  python3 -B "$work/walk.py" "$mnt" "$work/mail" >"$work/out" 2>&1 || echo "walk.py failed" >>"$work/out"
  expect_equal "$(<"$work/out")" ''
  cat "$mnt"/.ctl/{status,health,damage,timeline,manifest.json,manifest.sha256} >"$work/shown"
  expect_equal "$(find "$mnt/.ctl/lost+found" -type f)" ''
  stop
  expect mailstore --forensic -q export --bagit "$work/bag"
  ask --forensic >"$work/evidence"
  {
    mailstore --forensic export --format jsonl
    mailstore --forensic list -lr
    cat "$work/evidence"
  } >>"$work/shown"
}
age
unchanged look_at_all
expect_equal "$(LC_ALL=C tr -d '\n\t[:print:]\200-\377' <"$work/shown" | wc -c)" 0 'control bytes'
expect mailstore -q verify-bag "$work/bag"

# The same answers from the live store, with an index of the text.
ask >"$work/live"
expect cmp "$work/evidence" "$work/live"
mailstore -q mailbox set --index text joe@example.com
mailstore -q text joe@example.com
ask >"$work/live"
expect cmp "$work/evidence" "$work/live"

# And in the mount, where they are the messages themselves.
allow_log 'job [0-9]+: text '
start -f
for query in "${queries[@]}"; do
  expect mkdir "$mnt/.ctl/search/$query"
  expect_equal "$(find "$mnt/.ctl/search/$query" -name '*.eml' | wc -l)" \
    "$(mailstore search -p -- "$query" | wc -l)" "$query"
done
stop
