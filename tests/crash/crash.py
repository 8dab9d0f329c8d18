# SPDX-License-Identifier: Apache-2.0
"""crash.py OPERATION... - what is left when an operation is cut short, wherever that is.

Each operation is run on a fresh copy of a prepared store again and again: killed before its first
call that changes the disk, before its second, and so on until it runs to its end. The same with calls
that fail. Each time, flatstore.py says whether anything was lost, cut, doubled or mixed, then `check`
must work, `reconstruct` must lead to a clean `check`, and the operation, run again, to what it leads
to undisturbed.

Killed, it leaves what the calls before have made: two kills with nothing but a sync in between, or a part
of what SQLite writes at once, are one. Failures are tried at calls of different kinds.

Environment: MAILFS_BUILD, the build directory; CRASH_ALL=1, every call and every kind of failure
instead of that choice; CRASH_DIR, where to work (default: memory, if it has user
attributes, else the temporary directory); CRASH_JOBS, processes (default: one a core).
"""
import collections
import concurrent.futures
import json
import os
import re
import shutil
import sys
import tempfile

import flatstore
import sample
from operations import (ALL, BUILD, OPERATIONS, Violation, mailstore, prepare_sources, prepare_store, require,
                        succeed)

KILL_AT = os.path.join(BUILD, "tests", "crash", "kill-at")
# At which of the calls to choose from each kind of disturbance comes: (effect, for all later calls too, first, step).
DISTURBANCES = [("kill", False, 0, 1), ("EIO", False, 0, 2), ("EIO", True, 1, 6), ("ENOSPC", True, 3, 6),
                ("short", True, 5, 6)]
if ALL:
    DISTURBANCES = [(effect, is_sticky, 0, 1) for effect in ("kill", "EIO", "ENOSPC", "short")
                    for is_sticky in ([False] if effect == "kill" else [False, True])]
elif os.environ.get("MAILFS_SANITIZE"):  # ten times as slow
    DISTURBANCES = [(effect, is_sticky, first, 5 * step) for effect, is_sticky, first, step in DISTURBANCES]
JOBS = int(os.environ.get("CRASH_JOBS", os.cpu_count()))


# ---- what must hold ------------------------------------------------------------------------------

def require_between(before, now, end):
    """Nothing is lost, cut, doubled or mixed: `now` lies between the two others."""
    places = {mailbox.number: {path} for path, mailbox in before.mailboxes.items()}
    for path, mailbox in end.mailboxes.items():
        places.setdefault(mailbox.number, set()).add(path)
    for path, mailbox in now.mailboxes.items():
        require(path in places[mailbox.number], f"{path} is where it never was")
    now, end = now.named_as(before), end.named_as(before)
    faults = [fault for fault in now.faults if fault not in before.faults]
    require(not faults, f"not in order: {faults}")
    for path, old in before.mailboxes.items():
        new = now.whole().get(path)
        require(new is not None, f"{path} is lost")
        require((new.number, new.uidvalidity) == (old.number, old.uidvalidity)
                and new.uidnext >= old.uidnext, f"{path}: {old[:3]} became {new[:3]}")
        doubled = new.messages.keys() & new.expunged.keys()
        require(not doubled, f"{path}: {doubled} are in the mailbox and expunged")
        for uid, was in (old.messages | old.expunged).items():
            message = new.messages.get(uid) or new.expunged.get(uid)
            wanted = end.whole()[path].messages.get(uid) or end.whole()[path].expunged.get(uid)
            if wanted is None:  # what a cleanup takes
                if message is None:
                    continue
                wanted = was
            require(message is not None, f"{path} {uid} is lost")
            require((uid in new.expunged) in (uid in old.expunged, uid in end.whole()[path].expunged),
                    f"{path} {uid} is in the wrong place")
            require((message.sha256, message.mtime) == (was.sha256, was.mtime),
                    f"{path} {uid}: {was} became {message}")
            require((message.flags, message.modseq) in [(was.flags, was.modseq),
                                                        (wanted.flags, wanted.modseq)],
                    f"{path} {uid}: {was}, {wanted}, but {message}")
        wanted = end.mailboxes[path].messages if path in end.mailboxes else {}
        reused = [uid for uid, message in new.messages.items()
                  if uid not in old.messages | old.expunged and uid < old.uidnext
                  # What a restore brings back under its UID.
                  and not (uid in wanted and wanted[uid].sha256 == message.sha256)]
        require(not reused, f"{path}: UIDs {reused} are used again")
    require(now.mailboxes.keys() <= before.mailboxes.keys() | end.mailboxes.keys(),
            f"mailboxes {list(now.mailboxes)}")
    strange = now.mail() - (before.mail() | end.mail())
    require(not strange, f"nobody put there: {strange}")


def mail_files(store):
    """Each message file with all that must not change about it."""
    found = {}
    for directory, _, names in os.walk(os.path.join(store, "mail")):
        for name in names:
            path = os.path.join(directory, name)
            status = os.stat(path)
            found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def require_listed(store, mailboxes, fact):
    """`list` tells the same of these mailboxes as their files: all, or one `fact`."""
    for path, mailbox in mailboxes:
        lines = succeed(store, "--json", "list", path).stdout.splitlines()
        told = {line["uid"]: frozenset(line["flags"]) for line in map(json.loads, lines)}
        files = {uid: message.flags for uid, message in mailbox.messages.items()}
        require(fact(told) == fact(files), f"{path}: list tells {told}, the files {files}")


def require_sound(store):
    """check finds nothing but what a process that was killed left in tmp/, until one that writes comes; and it
    notes what was kept as evidence."""
    lines = mailstore(store, "--json", "check").stdout.splitlines()
    found = [line for line in map(json.loads, lines)
             if line["type"] == "finding" and line["problem"] != "leftover" and line["outcome"] != "noted"]
    require(lines and not found, f"check finds {found}")


def require_repairable(store, before, finish=None):
    """check works, reconstruct makes it clean, and neither touches a message file."""
    files, state = mail_files(store), flatstore.read(store)
    require_listed(store, state.changed_since(before), set)
    require(mailstore(store, "check").returncode in (0, 1), "check failed")
    require(flatstore.read(store) == state, "check changed something")
    succeed(store, "reconstruct", "-m")
    succeed(store, "reconstruct", "-r")
    require(mail_files(store) == files, "reconstruct changed message files")
    if finish is not None:
        succeed(store, *finish)
    require_sound(store)
    state = flatstore.read(store)
    require(not state.faults, f"not in order after reconstruct: {state.faults}")
    require(not state.misplaced(), f"misplaced after reconstruct: {state.misplaced()}")
    require_listed(store, state.mailboxes.items(), dict)
    return state


def is_of_one_write(*calls):
    """Whether these are writes to the same file of SQLite, which takes back what is not whole of them."""
    name, path = calls[0]
    return name == "pwrite64" and ".sqlite3" in path and all(call == calls[0] for call in calls)


def kill_points(calls):
    """The calls before which a kill leaves something else than a kill before the call that precedes them."""
    return [1] + [number for number in range(2, len(calls) + 1)
                  if "sync" not in calls[number - 2][0]
                  and not (number > 2 and is_of_one_write(*calls[number - 3:number]))]


def failure_points(calls):
    """The first call of each kind: of each name, for each kind of file."""
    first = {}
    for number, (name, path) in enumerate(calls, 1):
        first.setdefault((name, re.sub("[0-9a-f]*[0-9][0-9a-f]*", "#", path)), number)
    return list(first.values())


class Trial:
    """One operation on one prepared store, with what it leads to when nothing disturbs it."""

    def __init__(self, operation, base, source, directory):
        self.operation, self.source, self.directory = operation, source, directory
        self.base = os.path.join(directory, "base")
        shutil.copytree(base, self.base)
        if operation.prepare is not None:
            operation.prepare(self.base)
        self.before = flatstore.read(self.base)
        store = self.fresh_store()
        result, calls = self.run(store, 0, "kill", False)
        require(self.operation.is_done(result), f"undisturbed it fails: {result.stderr}")
        self.end = flatstore.read(store)
        self.calls = calls
        shutil.rmtree(store)
        self.complaint = self.complaint_afterwards()

    def complaint_afterwards(self):
        """What check says after the operation, in a store that was clean before it."""
        store = self.fresh_store()
        require_repairable(store, self.before, self.operation.finish)
        self.operation.run(store, self.source)
        check = mailstore(store, "check")
        complaint = check.stdout.decode() if check.returncode != 0 else ""  # notes are no complaint
        shutil.rmtree(store)
        return complaint

    def fresh_store(self):
        store = tempfile.mkdtemp(dir=self.directory)
        shutil.copytree(self.base, store, dirs_exist_ok=True)
        return store

    def run(self, store, at, effect, is_sticky):
        """The operation's result, and the calls that it made."""
        log = store + ".log"
        before = [KILL_AT, "-d", store, "-n", str(at), "-e", effect, "-l", log,
                  *(["-s"] if is_sticky else []), "--"]
        result = self.operation.run(store, self.source, before)
        with open(log, encoding="utf-8", errors="surrogateescape") as file:
            calls = [line.split(" ", 2)[1:] for line in file.read().splitlines()]
        os.unlink(log)
        return result, calls

    def disturb(self, at, effect, is_sticky=False):
        """Returns whether the call number `at` was reached, and what went wrong after it."""
        store, calls, result, what = self.fresh_store(), [], None, f"call {at}"
        try:
            result, calls = self.run(store, at, effect, is_sticky)
            name, path = calls[at - 1] if len(calls) >= at else ("", "")
            what = f"call {at}, {name} {path}"
            self.require_told(result, name, path, effect)
            if self.operation.promise is not None:
                self.operation.promise(store, result, effect)
            if self.operation.lasting is not None:
                self.operation.lasting(store, result, effect)
            self.require_recovers(store, result)
            if self.operation.lasting is not None:
                self.operation.lasting(store, result, effect)
            shutil.rmtree(store)
            return len(calls) >= at, None
        except Violation as violation:
            end = f"it ended with {result.returncode} {result.stderr.strip()}; " if result else ""
            return len(calls) >= at, (f"{effect}{' from' if is_sticky else ''} at {what}: {violation}; "
                                      f"{end}see {store}")

    def require_told(self, result, name, path, effect):
        """A failure is told with the thing it is about; a sync that failed is never taken for done."""
        if effect == "kill" or not name:
            return
        if self.operation.is_done(result):
            # The index may fail, it is only a cache; and the queue, which is bookkeeping. The list may
            # where a mark on it makes it follow later, and a restore writes to it once more when it
            # failed to take in a directory. A recovery has a database in tmp/ that does not outlive it.
            more = {"mailbox": "/mailboxes", "restore": "/mailboxes",
                    "recover": "/tmp"}.get(self.operation.words[0], "/index")
            spared = ("/index", "/queue", more)
            require("sync" not in name or path == "" or path.startswith(spared),
                    "success in spite of a failed sync")
            return
        said = re.sub("Input/output|I/O", "", result.stderr)
        require(re.search("[/']", said), "the error has neither a path nor a quoted name")

    def require_recovers(self, store, result):
        now = flatstore.read(store)
        require_between(self.before, now, self.end)
        landed = now.contents() - self.before.contents()
        if self.operation.is_done(result):
            require(now.contents() == self.end.contents(), "success, but not all is there")
        elif self.operation.words[0] == "deliver" and result.stdout:
            require(landed, f"acknowledged {result.stdout.strip()}, but lost")

        # An index that was ahead of a file that was put back may decide for the new flags, or the old.
        repaired = require_repairable(store, self.before, self.operation.finish)
        require_between(self.before, repaired, self.end)
        require(repaired.contents() == now.contents() or not self.operation.is_done(result),
                "reconstruct took back what was acknowledged")
        again = self.operation.run(store, self.source)
        was_done = self.operation.is_once and now.contents() == self.end.contents()
        require(self.operation.is_done(again) or was_done, f"run again, it fails: {again.stderr}")
        wanted = self.end.contents() + (landed if self.operation.is_repeating else collections.Counter())
        last = flatstore.read(store).contents()
        # A move that was cut short after it copied copies once more: both, never none.
        require(last == wanted or self.operation.words[0] == "move" and set(last) == set(wanted),
                "run again, it leads elsewhere")

        succeed(store, "deliver", "anna@example.com", stdin=sample.message(60))
        left = os.listdir(os.path.join(store, "tmp"))
        require(not left, f"left in tmp/: {left}")
        if not self.complaint:
            succeed(store, "check")

    def points(self, effect):
        """Where to disturb it: numbers of calls, from 1."""
        if ALL:
            return range(1, len(self.calls) + 1)
        return kill_points(self.calls) if effect == "kill" else failure_points(self.calls)

    def disturb_all(self, pool):
        """Returns the violations, each told in one line."""
        title = " ".join(self.operation.words)
        violations = []
        if self.complaint and self.operation.words[0] != "reset":
            violations.append(f"{title}: undisturbed, it leaves a store of which check says: "
                              f"{self.complaint.splitlines()}")
        for effect, is_sticky, first, step in DISTURBANCES:
            step *= self.operation.every
            outcomes = list(pool.map(lambda at: self.disturb(at, effect, is_sticky), self.points(effect)[first::step]))
            # Threads do not always make as many calls as the first time.
            at = len(self.calls) + 1
            while step == 1 and at < len(self.calls) + 50 and outcomes[-1][0]:
                outcomes.append(self.disturb(at, effect, is_sticky))
                at += 1
            found = [violation for _, violation in outcomes if violation is not None]
            print(f"{title}: {effect}{' from' if is_sticky else ''} at {len(outcomes)} calls: "
                  f"{len(found)} violations", flush=True)
            violations += [f"{title}: {violation}" for violation in found]
        return violations


def working_directory():
    """In memory if files there can have user attributes: syncs cost nothing, and nothing needs them."""
    for parent in [os.environ.get("CRASH_DIR"), "/dev/shm", tempfile.gettempdir()]:
        if parent is not None and os.path.isdir(parent):
            path = os.path.realpath(tempfile.mkdtemp(prefix="mailfs-crash.", dir=parent))
            try:
                os.setxattr(path, "user.test", b"1")
                return path
            except OSError:
                os.rmdir(path)
    print("no place whose files can have user attributes: skipped")
    sys.exit(77)


def main(names):
    top = working_directory()
    base, source = os.path.join(top, "base"), os.path.join(top, "source")
    prepare_sources(source)
    prepare_store(base)
    violations = []
    result = mailstore(base, "check")
    if result.returncode != 0:
        violations.append(f"of a store that only saw deliveries check says: {result.stdout.decode()}")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name in names:
            for number, operation in enumerate(OPERATIONS[name]):
                directory = os.path.join(top, f"{name}{number}")
                os.mkdir(directory)
                violations += Trial(operation, base, source, directory).disturb_all(pool)
    for violation in violations[:50]:
        print(violation, file=sys.stderr)
    if violations:
        sys.exit(f"{len(violations)} violations; the stores are in {top}")
    shutil.rmtree(top)


if __name__ == "__main__":
    main(sys.argv[1:] or OPERATIONS)
