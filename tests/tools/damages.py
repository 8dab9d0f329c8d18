# SPDX-License-Identifier: Apache-2.0
"""damages.py WORK - what breaks in a mail store, and what a repair makes of it.

A store of twelve messages with flags, keywords, dates, one expunged and one cleaned up is damaged in each way that
mail stores are known to break. Whatever it was: check says so and changes nothing, repair loses no flag, keyword,
UID, UIDVALIDITY or date, brings no expunged message back, lets no modseq fall and removes no file; and what it
could not mend, check still tells.
"""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

WORK = sys.argv[1]
GOOD, STORE = os.path.join(WORK, 'good'), os.path.join(WORK, 'damaged')
USER = 'joe@example.com'
BOX = f'{USER}/INBOX'
failures = 0


def mailstore(*words, store=STORE, data=None, expect=(0,)):
    run = subprocess.run(['mailstore', '-s', store, *words], input=data, capture_output=True)
    if run.returncode not in expect:
        raise AssertionError(f"{' '.join(words)}: exit {run.returncode}: {run.stdout.decode()} {run.stderr.decode()}")
    return run.stdout.decode()


def rows(*words, **options):
    return [json.loads(line) for line in mailstore('--json', *words, **options).splitlines()]


def body(number):
    return f'Subject: message {number}\nDate: Mon, 3 Jun 2024 08:{number:02}:00 +0000\n\n'.encode() + b'line\n' * 50


def make():
    mailstore('-q', 'init', store=GOOD)
    for number in range(1, 15):
        flags = r'\Seen $Label1 Work' if number % 3 == 0 else ''
        mailstore('-q', 'deliver', '-c', '--flags', flags, '--date', f'2024-06-03T08:{number:02}:00Z', BOX,
                  store=GOOD, data=body(number))
    # One that is only expunged, and one whose file is gone for good; a copy of that file is kept.
    shutil.copy2(message(13, GOOD), os.path.join(WORK, 'purged.eml'))
    keep_attributes(message(13, GOOD), os.path.join(WORK, 'purged.eml'))
    mailstore('expunge', '--uid', '13', BOX, store=GOOD)
    mailstore('cleanup', '--age', '0', BOX, store=GOOD)
    mailstore('expunge', '--uid', '14', BOX, store=GOOD)
    mailstore('flag', BOX, '2', r'+\Flagged', store=GOOD)
    mailstore('check', '--full', store=GOOD)


def keep_attributes(source, target):
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))


def inbox(store=STORE):
    return os.path.join(store, 'mail/example.com/user/joe/INBOX')


def message(uid, store=STORE):
    return os.path.join(inbox(store), f'{uid:010}.eml')


def index():
    return glob.glob(os.path.join(STORE, 'index', '**', 'joe.sqlite3'), recursive=True)[0]


def facts():
    """What must never be lost, by UID, and of the mailbox."""
    messages = {row['uid']: (row['flags'], row['internaldate'], row['subject'], row['modseq'])
                for row in rows('list', BOX)}
    box, = (row for row in rows('list', '-l', '-r', USER) if row['mailbox'] == BOX)
    return messages, (box['uidvalidity'], box['uidnext'], box['highestmodseq'], box['expunged'])


def files():
    """Every message file, wherever it lies."""
    return {os.path.relpath(os.path.join(folder, name), STORE)
            for folder, _, names in os.walk(STORE) for name in names if name.endswith('.eml')}


def overwrite(path, at, data):
    with open(path, 'r+b') as file:
        file.seek(at)
        file.write(data)


def keep_times(path, change):
    st = os.stat(path)
    change(path)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


# ---- the damages: each takes the store apart and says which UIDs cannot be whole afterwards ----

def index_removed():
    os.unlink(index())


def header_flipped():
    overwrite(index(), 0, b'X')


def page_flipped():
    """The page of the messages: cells, and what points at them."""
    overwrite(index(), 2 * 8192, os.urandom(64))
    overwrite(index(), 3 * 8192 - 200, os.urandom(100))


def rows_zeroed():
    """Half of a page: the rows are just not found, and SQLite has nothing to say of that."""
    overwrite(index(), 2 * 8192 + 4096, bytes(4096))
    shown = {row['uid'] for row in rows('list', BOX)}
    if shown != set(range(1, 13)):
        raise AssertionError(f'list shows {shown}')


def index_cut():
    os.truncate(index(), os.path.getsize(index()) // 2)


def index_emptied():
    os.truncate(index(), 0)


def index_is_text():
    with open(index(), 'w', encoding='ascii') as file:
        file.write('this is no database\n' * 1000)


def index_is_directory():
    path = index()
    os.unlink(path)
    os.mkdir(path)


def index_reset():
    mailstore('reset', BOX)


def list_removed():
    os.unlink(os.path.join(STORE, 'mailboxes.sqlite3'))


def list_flipped():
    overwrite(os.path.join(STORE, 'mailboxes.sqlite3'), 0, os.urandom(64))


def everything_derived_removed():
    shutil.rmtree(os.path.join(STORE, 'index'))
    list_removed()


def queue_lost():
    for path in glob.glob(os.path.join(STORE, 'queue.sqlite3*')):
        overwrite(path, 0, os.urandom(64))


def states_stripped():
    """The files lose what they carry; the index is all there is."""
    for uid in range(1, 13):
        os.removexattr(message(uid), 'user.mailfs.state')


def state_cut():
    """In its digest; the flags are behind that."""
    state = os.getxattr(message(3), 'user.mailfs.state')
    os.setxattr(message(3), 'user.mailfs.state', state[:state.index(b' ', 6) + 8])


def mailbox_state_stripped():
    os.removexattr(inbox(), 'user.mailfs.mailbox')


def index_and_some_states():
    """What lies on intact pages of a broken index comes back where the files lost it."""
    states_stripped()
    overwrite(index(), 0, b'X' * 100)


def message_emptied():
    os.truncate(message(4), 0)
    return {4}


def message_cut():
    keep_times(message(4), lambda path: os.truncate(path, 100))
    return {4}


def message_replaced():
    keep_times(message(4), lambda path: overwrite(path, 0, b'Subject: something else\n'))
    return {4}


def bit_rot():
    keep_times(message(4), lambda path: overwrite(path, 90, b'X'))
    return {4}


def message_replaced_by_another_file():
    """As an editor or a restore does it: new inode, no attributes, another date."""
    os.unlink(message(4))
    with open(message(4), 'wb') as file:
        file.write(b'Subject: something else\n\nnothing\n')
    return {4}


def file_dropped_in():
    with open(message(77), 'wb') as file:
        file.write(body(77))


def purged_file_back():
    shutil.copy2(os.path.join(WORK, 'purged.eml'), message(13))
    keep_attributes(os.path.join(WORK, 'purged.eml'), message(13))


def killed_in_a_rebuild():
    os.unlink(index())
    for delay in (0.002, 0.005, 0.01, 0.02):
        run = subprocess.Popen(['mailstore', '-q', '-s', STORE, 'reconstruct', '-r'])
        time.sleep(delay)
        run.send_signal(signal.SIGKILL)
        run.wait()


# What check need not see: it only looks at what files and rows say of themselves unless it is told --full.
QUIET = {bit_rot, queue_lost, killed_in_a_rebuild, list_removed, list_flipped}


def judge(damage):
    subprocess.run(['rm', '-rf', STORE], check=True)
    subprocess.run(['cp', '-a', GOOD, STORE], check=True)
    # A copy has other change times; that is no damage.
    mailstore('-q', 'reconstruct', '-r', expect=(0, 1))
    before, box = facts()
    damaged = damage() or set()
    had = files()

    found = mailstore('check', '--full', expect=(0, 1))
    if not found and damage not in QUIET:
        raise AssertionError('check finds nothing')
    for uid in damaged:
        if f'{uid:010}.eml' not in found:
            raise AssertionError(f'check does not name message {uid}: {found}')
    mailstore('repair', '--full', expect=(1,) if damaged else (0, 1))
    left = mailstore('check', '--full', expect=(1,) if damaged else (0,))

    after, box_after = facts()
    if before.keys() - after.keys():
        raise AssertionError(f'lost UIDs {before.keys() - after.keys()}')
    if after.keys() - before.keys() - {77}:
        raise AssertionError(f'came back: {after.keys() - before.keys()}')
    for uid, (flags, date, subject, modseq) in before.items():
        flags_after, date_after, subject_after, modseq_after = after[uid]
        if flags != flags_after:
            raise AssertionError(f'message {uid}: flags {flags} became {flags_after}')
        if date != date_after:
            raise AssertionError(f'message {uid}: date {date} became {date_after}')
        if subject != subject_after and uid not in damaged:
            raise AssertionError(f'message {uid}: {subject} became {subject_after}')
        if modseq_after < modseq:
            raise AssertionError(f'message {uid}: modseq fell from {modseq} to {modseq_after}')
    if box[0] != box_after[0]:
        raise AssertionError(f'UIDVALIDITY {box[0]} became {box_after[0]}')
    if box_after[1] < box[1] or box_after[2] < box[2]:
        raise AssertionError(f'next UID or modseq fell: {box} to {box_after}')
    if box_after[3] < box[3]:
        raise AssertionError('the expunged message came back')
    gone = had - files()
    if {os.path.basename(path) for path in gone} - {os.path.basename(path) for path in files()}:
        raise AssertionError(f'removed: {gone}')
    return len(left.splitlines())


make()
for damage in (index_removed, header_flipped, page_flipped, rows_zeroed, index_cut, index_emptied, index_is_text,
               index_is_directory, index_reset, list_removed, list_flipped, everything_derived_removed, queue_lost,
               states_stripped, state_cut, mailbox_state_stripped, index_and_some_states, message_emptied, message_cut,
               message_replaced, bit_rot, message_replaced_by_another_file, file_dropped_in, purged_file_back,
               killed_in_a_rebuild):
    try:
        left = judge(damage)
        print(f'{damage.__name__}: nothing lost, {left} left')
    except AssertionError as error:
        failures += 1
        print(f'{damage.__name__}: FAILED: {error}')
sys.exit(1 if failures else 0)
