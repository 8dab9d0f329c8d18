# SPDX-License-Identifier: Apache-2.0
"""stress.py MOUNT SECONDS - everything at once: two writers, a keeper and a reader of a mount.

Whatever they do to the mailboxes of one user: no command fails in a way that is not about another having been
faster, the reader sees whole messages only, no UID ever means two messages, and in the end check is content and
every message is there, with the keyword that it was delivered with.
"""
import collections
import json
import os
import random
import subprocess
import sys
import threading
import time

MOUNT, SECONDS = sys.argv[1], float(sys.argv[2])
STORE = os.environ['MAILSTORE']
USER = 'joe@example.com'
NAMES = ['INBOX', 'A', 'B', 'A/Sub']

# What may go wrong because somebody else was faster: the mailbox or message is gone (66), the name is taken (73),
# somebody holds a lock (75), what was asked for makes no sense any more (64, 69, 77).
FASTER = {0, 1, 64, 66, 69, 73, 75, 77}

stop_at = time.monotonic() + SECONDS
failures = []
delivered = set()
meaning = {}  # (uidvalidity, uid) -> message
lock = threading.Lock()
done = collections.Counter()


def fail(text):
    with lock:
        failures.append(text)


def mailstore(*words, data=None):
    """Runs mailstore; its exit code and output."""
    run = subprocess.run(['mailstore', *words], input=data, capture_output=True)
    done[next(word for word in words if word[0] != '-')] += 1
    if run.returncode not in FASTER:
        fail(f"{' '.join(words)}: exit {run.returncode}: {run.stderr.decode(errors='replace')}")
    return run.returncode, run.stdout.decode(errors='replace')


def body(number):
    return (f'Subject: message {number}\n\n' + f'{number}\n' * (number % 500 + 1)).encode()


def is_whole(data):
    head = data.split(b'\n', 1)[0].rsplit(b' ', 1)
    return len(head) == 2 and head[1].isdigit() and data == body(int(head[1]))


numbers = iter(range(1, 10**9))


def deliver(box):
    with lock:
        number = next(numbers)
    code, _ = mailstore('-q', 'deliver', '-c', '--flags', f'k{number}', box, data=body(number))
    if code == 0:
        with lock:
            delivered.add(number)


def uids(box):
    """Some UIDs of a mailbox."""
    code, out = mailstore('list', '--json', box)
    found = [row['uid'] for row in map(json.loads, out.splitlines()) if row['type'] == 'message'] if code == 0 else []
    return random.sample(found, min(len(found), random.randint(1, 4)))


def change(box):
    some = uids(box)
    if not some:
        deliver(box)
        return
    text = ','.join(map(str, some))
    verb = random.choice(['flag', 'delete', 'expunge', 'copy', 'move'])
    if verb == 'flag':
        mailstore('flag', box, text, random.choice(['+Seen', '-Seen', '+Flagged', '-Flagged', '+Work', '-Work']))
    elif verb == 'delete':
        mailstore('flag', box, text, '+Deleted')
    elif verb == 'expunge':
        mailstore('expunge', '--uid', text, box)
    else:
        mailstore(verb, box, text, f'{USER}/{random.choice(NAMES)}')


def write():
    while time.monotonic() < stop_at and not failures:
        box = f'{USER}/{random.choice(NAMES)}'
        random.choice([deliver, deliver, change, change, change])(box)


def keep():
    """What an administrator and the worker do."""
    chores = [('check', USER), ('repair', USER), ('reconstruct', '-r', USER), ('expunge', '-r', USER),
              ('undelete', f'{USER}/A'), ('cleanup', USER), ('purge', USER), ('check', '--full', USER), ('repair',),
              ('reconstruct', '-m'), ('mailbox', 'create', f'{USER}/B'),
              ('mailbox', 'rename', f'{USER}/B', f'{USER}/C'), ('mailbox', 'rename', f'{USER}/C', f'{USER}/B'),
              ('mailbox', 'subscribe', f'{USER}/A'), ('mailbox', 'remove', f'{USER}/C'),
              ('reset', f'{USER}/A'), ('recover', USER), ('test',), ('checkpoint',), ('work', '--until-empty')]
    while time.monotonic() < stop_at and not failures:
        mailstore('-q', *random.choice(chores))


def read():
    """A backup that never ends."""
    def gone(error):
        if not isinstance(error, FileNotFoundError) and error.errno != 116:
            fail(f'walk: {error}')
    while time.monotonic() < stop_at and not failures:
        for folder, _, files in os.walk(MOUNT, onerror=gone):
            for name in files:
                try:
                    with open(os.path.join(folder, name), 'rb') as file:
                        data = file.read()
                except OSError as error:
                    gone(error)
                    continue
                done['read'] += 1
                if not is_whole(data):
                    fail(f'{folder}/{name}: not what was delivered: {data[:60]!r}')


def watch():
    """No UID ever means two messages."""
    while time.monotonic() < stop_at and not failures:
        learn(alone=False)


def rows(*words):
    return [json.loads(line) for line in mailstore(*words)[1].splitlines()]


def learn(alone):
    """What every UID means. Alone, when nobody changes anything any more, every message has a subject."""
    found = []
    for mailbox in rows('list', '--json', '-l', '-r', USER):
        if mailbox['type'] != 'mailbox':
            continue
        before = mailbox['uidvalidity']
        messages = [row for row in rows('list', '--json', mailbox['mailbox']) if row['type'] == 'message']
        after = [row for row in rows('list', '--json', '-l', '-r', USER) if row['mailbox'] == mailbox['mailbox']]
        if not after or after[0]['uidvalidity'] != before:
            continue  # it was renamed meanwhile
        for row in messages:
            if row['subject'] is None and not alone:
                continue  # it was expunged between its row and its summary
            number = int(row['subject'].rsplit(' ', 1)[1])
            known = meaning.setdefault((before, row['uid']), number)
            if known != number:
                fail(f"{row['mailbox']} {row['uid']} was message {known} and is {number}")
            found.append((number, row))
    return found


def kept():
    """The messages that lie anywhere in the store."""
    found = set()
    for top in ('mail', 'quarantine'):
        for folder, _, files in os.walk(os.path.join(STORE, top)):
            for name in files:
                if name.endswith('.eml'):
                    with open(os.path.join(folder, name), 'rb') as file:
                        found.add(int(file.readline().rsplit(b' ', 1)[1]))
    return found


threading.excepthook = lambda hook: fail(f'{hook.thread.name}: {hook.exc_value!r}')
random.seed(os.environ.get('STRESS_SEED'))
for name in NAMES:
    deliver(f'{USER}/{name}')
threads = [threading.Thread(target=work) for work in (write, write, keep, read, watch)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

if not failures:
    mailstore('repair')
    code, out = mailstore('check', '--full')
    if code != 0:
        fail(f'check afterwards:\n{out}')
    lost = delivered - kept()
    if lost:
        fail(f'lost: {sorted(lost)}')
    for number, row in learn(alone=True):
        if f'k{number}' not in row['flags']:
            fail(f"{row['mailbox']} {row['uid']} lost its keyword: {row['flags']}")
print(', '.join(f'{count} {what}' for what, count in sorted(done.items())))
for text in failures:
    print(text)
sys.exit(1 if failures else 0)
