# SPDX-License-Identifier: Apache-2.0
"""The store that is damaged: something of everything that a store can hold, in a few files."""
import json
import os
import subprocess

import sample

INBOX = "joe@example.com/INBOX"
LONG = "Ü" * 140  # its directory's name is cut
MAIL = [(INBOX, 1, ""), (INBOX, 2, "\\Seen"),
        (INBOX, 3, "\\Flagged Work"), (INBOX, 4, "\\Answered \\Seen"),
        (INBOX, 6, ""), ("joe@example.com/Archive/2023", 8, "Other"),
        (f"joe@example.com/{LONG}", 9, "\\Draft"), ("joe@example.com/Gone", 10, ""),
        ("anna@example.com/INBOX", 11, "\\Seen"), ("Public Folders/News@example.com", 12, "")]


class Failure(Exception):
    pass


def run(store, *words, stdin=b"", user=None, expect=(0,)):
    """Runs mailstore, which must end with one of these codes."""
    groups = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    try:
        result = subprocess.run(["mailstore", "-q", "-s", store, *words], input=stdin, capture_output=True,
                                timeout=60, check=False, **groups)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(words)} hangs") from None
    result.stdout = result.stdout.decode(errors="replace")
    result.stderr = result.stderr.decode(errors="replace")
    if result.returncode not in expect:
        raise Failure(f"{' '.join(words)} exits with {result.returncode}: {result.stdout[-500:]}{result.stderr[-500:]}")
    return result


def rows(store, *words, **options):
    return [json.loads(line) for line in run(store, "--json", *words, **options).stdout.splitlines()]


def make(store):
    run(store, "init")
    for mailbox, number, flags in MAIL:
        run(store, "deliver", "--create", "--date", f"@{sample.DATE + number}", "--flags", flags, mailbox,
            stdin=sample.message(number))
    run(store, "mailbox", "subscribe", "joe@example.com/Archive")
    run(store, "mailbox", "set", "--special-use", "\\Archive", "joe@example.com/Archive")
    os.unlink(os.path.join(store, "mail/example.com/user/anna/INBOX/0000000001.eml"))
    run(store, "reconstruct", "-r", expect=(1,))  # which keeps what is known of it


def age(store):
    """Changes something of everything, so that a snapshot that was taken before needs it."""
    run(store, "flag", INBOX, "1", "+Answered")
    run(store, "expunge", "--uid", "2", INBOX)
    run(store, "mailbox", "rename", "joe@example.com/Archive", "joe@example.com/Kept")
    run(store, "mailbox", "remove", "joe@example.com/Gone")
    run(store, "queue", "add", "check", INBOX)


def deliver_more(store, user):
    """New mail comes, and is flagged."""
    reply = run(store, "deliver", "anna@example.com", stdin=sample.message(13), user=user)
    run(store, "flag", "anna@example.com/INBOX", reply.stdout.strip(), "+Seen", user=user)
