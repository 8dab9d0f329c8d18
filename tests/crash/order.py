# SPDX-License-Identifier: Apache-2.0
"""order.py - the order in which mail gets to the disk.

A power cut cannot show a sync that is missing: another one close by covers for it. So this test looks
at the calls themselves. A message's bytes, attribute and date are synced before it gets its name;
then the directory; then the index; and only then somebody is told. What a snapshot needs is synced
before what it tells of changes.
"""
import os
import re
import shutil
import subprocess
import sys

import crash
import operations
import sample

LIVE = re.compile(r"/store/mail/.*/[0-9]{10}\.eml")
CHANGES = {"write", "pwrite64", "writev", "ftruncate", "fallocate", "copy_file_range", "sendfile", "ioctl",
           "setxattr", "fsetxattr", "lsetxattr", "utimensat", "fchmod", "fchown"}
MAIL = re.compile(r"/store/mail/.*")
HISTORY = re.compile(r"/store/history/[0-9]+")
NAMES = {"link", "linkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat"}


class Calls:
    """What one command did below a directory: (call, path, old path) in order."""

    def __init__(self, directory, *words, stdin=b""):
        log, reply = os.path.join(directory, "log"), os.path.join(directory, "reply")
        command = [crash.KILL_AT, "-d", directory, "-l", log, "--", operations.MAILSTORE, "-s",
                   os.path.join(directory, "store"), *words]
        with open(reply, "wb") as out:
            subprocess.run(command, input=stdin, stdout=out, env=operations.ENVIRONMENT, check=True,
                           timeout=60)
        self.calls = []
        with open(log, encoding="utf-8") as file:
            for line in file.read().splitlines():
                _, name, rest = line.split(" ", 2)
                path, _, origin = rest.partition(" <- ")
                self.calls.append((name, path, origin.removesuffix(" (deleted)")))

    def positions(self, names, accepts):
        return [i for i, (name, path, _) in enumerate(self.calls) if name in names and accepts(path)]

    def changes(self, path):
        """Where the file `path` changes; O_TMPFILE's have no name yet."""
        return self.positions(CHANGES, lambda p: p.removesuffix(" (deleted)") == path)

    def synced(self, path, after, before, what):
        """Requires a sync of `path`, or of the whole filesystem, between two positions; returns where."""
        for i in range(after + 1, before):
            name, synced, _ = self.calls[i]
            if name == "syncfs" or (name in ("fsync", "fdatasync")
                                    and synced.removesuffix(" (deleted)") == path):
                return i
        raise operations.Violation(f"{what}: {path} is not synced between calls {after + 1} and {before + 1}")

    def told(self):
        """Where the reply is written; the end, if there is none."""
        return min(self.positions({"write", "writev"}, lambda p: p == "/reply"),
                   default=len(self.calls))

    def require_synced(self, names, accepts, what):
        """Whatever `names` do to the paths that are meant is synced before the reply."""
        found = self.positions(names, accepts)
        operations.require(found, f"{what}: nothing happened")
        for position in found:
            self.synced(self.calls[position][1], position, self.told(), what)
        return found

    def require_index_last(self, after, what):
        """After the position `after` the index is written, synced, and its journal ended for good."""
        def is_database(path):
            return path.startswith("/store/index/") and path.endswith(".sqlite3")

        writes = [i for i in self.require_synced({"pwrite64"}, is_database, what) if i > after]
        operations.require(writes, f"{what}: the index is not written after call {after + 1}")
        self.require_synced({"ftruncate"}, lambda p: p.endswith(".sqlite3-journal"), what)

    def require_messages(self, count, what):
        """`count` messages get their names the right way."""
        named = self.positions(NAMES, LIVE.fullmatch)
        operations.require(len(named) == count, f"{what}: {len(named)} messages got names, not {count}")
        for position in named:
            _, path, origin = self.calls[position]
            changes = self.changes(origin)
            operations.require(changes and changes[-1] < position, f"{what}: {origin} changes later")
            self.synced(origin, changes[-1], position, what)
            operations.require(not self.changes(path), f"{what}: {path} changes under its name")
            self.synced(os.path.dirname(path), position, self.told(), what)
        last = {os.path.dirname(self.calls[position][1]): position for position in named}
        for directory, position in last.items():
            self.require_index_last(self.synced(directory, position, self.told(), what), what)

    def require_kept(self, writes, what):
        """As many writes keep what was: the first the directory, the last the messages, each before they change."""
        kept = self.positions(CHANGES, HISTORY.fullmatch)
        operations.require(len(kept) == writes, f"{what}: the history is written {len(kept)} times, not {writes}")
        history = self.calls[kept[0]][1]
        directory, message = (self.positions(CHANGES | NAMES, pattern.fullmatch)[0] for pattern in (MAIL, LIVE))
        if writes > 1:
            self.synced(history, kept[0], directory, what)
            self.synced(os.path.dirname(history), -1, directory, what)
        self.synced(history, kept[-1], message, what)


def main(top):
    store, source = os.path.join(top, "store"), os.path.join(top, "source")
    operations.prepare_sources(source)
    operations.prepare_store(store)

    calls = Calls(top, "deliver", operations.INBOX, stdin=sample.message(53))
    calls.require_messages(1, "deliver")
    calls.require_synced({"setxattr", "fsetxattr"}, lambda p: p.endswith("/INBOX"), "deliver: next UID")

    calls = Calls(top, "deliver", "--create", "joe@example.com/New", stdin=sample.message(50))
    calls.require_messages(1, "create")
    made = calls.positions(NAMES, lambda p: p.endswith("/New"))
    operations.require(len(made) == 1, "create: the mailbox does not get its name by one call")
    calls.synced(calls.calls[made[0]][2], calls.changes(calls.calls[made[0]][2])[-1], made[0], "create")
    calls.synced("/store/mail/example.com/user/joe", made[0], calls.told(), "create")

    for kind in ("eml", "maildir", "mbox"):
        calls = Calls(top, "import", "--format", kind, os.path.join(source, kind), f"{kind}@example.com")
        calls.require_messages(12, f"import {kind}")

    calls = Calls(top, "flag", operations.INBOX, "1,3", "+Flagged")
    changed = calls.require_synced({"setxattr", "fsetxattr"}, LIVE.fullmatch, "flag")
    calls.require_index_last(changed[-1], "flag")

    for name in ("flag", "expunge"):
        operations.succeed(store, "snapshot", "take", name)
        for uid, writes in (("1", 2), ("2", 1)):
            words = (operations.INBOX, uid, "+Draft") if name == "flag" else ("--uid", uid, operations.INBOX)
            Calls(top, name, *words).require_kept(writes, f"{name} beside a snapshot")


if __name__ == "__main__":
    directory = crash.working_directory()
    try:
        main(directory)
    except operations.Violation as violation:
        sys.exit(f"order: {violation}; see {directory}/log")
    shutil.rmtree(directory)
