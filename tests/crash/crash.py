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
import subprocess
import sys
import tempfile

import flatstore
import sample

BUILD = os.path.abspath(os.environ["MAILFS_BUILD"])
MAILSTORE = os.path.join(BUILD, "tools", "mailstore")
KILL_AT = os.path.join(BUILD, "tests", "crash", "kill-at")
ALL = os.environ.get("CRASH_ALL") == "1"
# At which of the calls to choose from each kind of disturbance comes: (effect, for all later calls too, first, step).
DISTURBANCES = [("kill", False, 0, 1), ("EIO", False, 0, 2), ("EIO", True, 1, 6), ("ENOSPC", True, 3, 6),
                ("short", True, 5, 6)]
if ALL:
    DISTURBANCES = [(effect, is_sticky, 0, 1) for effect in ("kill", "EIO", "ENOSPC", "short")
                    for is_sticky in ([False] if effect == "kill" else [False, True])]
elif os.environ.get("MAILFS_SANITIZE"):  # ten times as slow
    DISTURBANCES = [(effect, is_sticky, first, 5 * step) for effect, is_sticky, first, step in DISTURBANCES]
JOBS = int(os.environ.get("CRASH_JOBS", os.cpu_count()))
KILLED = 128 + 9

# Sanitizers end a process with an exit code of their own, so that it is not taken for one of ours.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="exitcode=99", TSAN_OPTIONS="exitcode=99",
                   UBSAN_OPTIONS="exitcode=99", LC_ALL="C.UTF-8", TZ="UTC")
EXIT_CODES = {0, 1, *range(64, 79)}


class Violation(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Violation(text)


def mailstore(store, *words, stdin=b"", before=()):
    """Runs a command, with the words `before` in front of it, and sees that it does not crash."""
    command = [*before, MAILSTORE, "-s", store, *words]
    try:
        result = subprocess.run(command, input=stdin, capture_output=True, env=ENVIRONMENT,
                                timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise Violation(f"{' '.join(words)} hangs") from None
    result.stderr = result.stderr.decode(errors="replace")
    require(result.returncode in EXIT_CODES or before and result.returncode == KILLED,
            f"{' '.join(words)} exits with {result.returncode}: {result.stderr}")
    return result


def is_done(words, result):
    """A rebuild that did its work but has to tell of a message that is gone ends with 1."""
    return result.returncode == 0 or words[0] == "reconstruct" and result.returncode == 1


def succeed(store, *words, stdin=b""):
    result = mailstore(store, *words, stdin=stdin)
    said = " | ".join((result.stdout.decode(errors="replace") + result.stderr).splitlines())
    require(is_done(words, result), f"{' '.join(words)} exits with {result.returncode}: {said}")
    return result


# ---- the operations ------------------------------------------------------------------------------

class Operation:
    """A command line, and what the store is like before it."""

    def __init__(self, *words, stdin=b"", prepare=None, finish=None, promise=None, lasting=None, every=1):
        self.words = words
        self.promise = promise  # what must hold afterwards, beside what holds for all
        self.lasting = lasting  # likewise, and still after all was repaired and run again
        self.every = 1 if ALL else every  # of the calls that are to be disturbed only each Nth
        self.finish = finish  # what check wants to have run before it is content
        self.stdin = stdin
        self.prepare = prepare
        # Run once more, it does again what it did: a delivery is no import.
        self.is_repeating = words[0] in ("deliver", "copy")
        # Run once more, it may find that there is nothing left to do, and say so.
        self.is_once = words[:2] in (("mailbox", "rename"), ("mailbox", "remove")) \
            or words[0] in ("snapshot", "quarantine")

    def is_done(self, result):
        return is_done(self.words, result)

    def run(self, store, source, before=()):
        words = [w.format(source=source) for w in self.words]
        return mailstore(store, *words, stdin=self.stdin, before=before)


def remove_indexes(store):
    shutil.rmtree(os.path.join(store, "index"))


def remove_list(store):
    os.unlink(os.path.join(store, "mailboxes.sqlite3"))


def change_files(store):
    """What an administrator does by hand: a message gone, one restored, flags changed."""
    inbox = os.path.join(store, "mail/example.com/user/joe/INBOX")
    os.unlink(os.path.join(inbox, "0000000002.eml"))
    flagged = os.path.join(inbox, "0000000003.eml")
    digest = os.getxattr(flagged, "user.mailfs.state").split(b" ")[4]
    os.setxattr(flagged, "user.mailfs.state", b"1 900 1 0 " + digest + b" \\Draft New")
    restored = os.path.join(inbox, "0000000040.eml")
    shutil.copy2(os.path.join(inbox, "0000000004.eml"), restored)
    os.chmod(restored, 0o640)


def mark_deleted(store):
    succeed(store, "flag", INBOX, "1,3", "+Deleted")


def expunge_some(store):
    mark_deleted(store)
    succeed(store, "expunge", INBOX)


def leave_strays(store):
    """Something of everything that a purge takes."""
    with open(os.path.join(store, "mailfs.conf"), "a", encoding="ascii") as file:
        file.write("[purge]\ncount=0\npercentage=0\n")
    expunge_some(store)
    succeed(store, "cleanup", "--age", "0")
    inbox = os.path.join(store, "mail/example.com/user/joe/INBOX")
    for name in ("stray", ".expunged/stray"):
        with open(os.path.join(inbox, name), "w", encoding="ascii") as file:
            file.write(name)
    old = os.path.join(store, "quarantine/20200102T030405Z-0011aabb/example.com/user/joe")
    os.makedirs(old)
    shutil.copy(os.path.join(inbox, "stray"), old)
    mailstore(store, "reconstruct", "-r")


def jobs(store, command="jobs"):
    return [json.loads(line) for line in succeed(store, "--json", command).stdout.splitlines()]


def queue_rebuild(store):
    remove_indexes(store)
    succeed(store, "queue", "add", "reconstruct", INBOX)


def require_queued(store, result, effect):
    """An entry that was acknowledged is there, once."""
    count = len(jobs(store, "queue"))
    require(count == 1 or count == 0 and not result.stdout, f"{count} entries")


def require_worked(store, result, effect):
    """A job that was cut short waits for the next worker; none is done that is not."""
    state = jobs(store)[0]["state"]
    # One whose end could not be written is not needed any more when it is taken up again.
    allowed = {"waiting", "interrupted", "done"}
    if effect != "kill":
        allowed |= {"failed", "cancelled"}
    require(state in allowed, f"the job is {state}")
    if state == "done":
        succeed(store, "check", INBOX)
    elif effect == "kill":
        require(len(jobs(store, "queue")) == 1, "no worker will take it up again")


def break_index(store):
    """The first page is gone."""
    index = os.path.join(store, "index/example.com/user/joe.sqlite3")
    with open(index, "r+b") as file:
        file.write(bytes(8192))


def lose_some(store):
    """Messages are gone, expunged, or have lost their flags since a backup was taken."""
    backup = os.path.normpath(os.path.join(store, "../../source/backup"))
    shutil.rmtree(backup, ignore_errors=True)
    succeed(store, "backup", backup)
    inbox = os.path.join(store, "mail/example.com/user/joe/INBOX")
    os.unlink(os.path.join(inbox, "0000000002.eml"))
    succeed(store, "expunge", "--uid", "3", INBOX)
    shutil.rmtree(os.path.join(store, "mail/example.com/user/joe/Archive"))
    mailstore(store, "reconstruct", "-m")
    mailstore(store, "reconstruct", "-r")


# ---- snapshots -----------------------------------------------------------------------------------

def shown(store, *options):
    """What the store shows, or a snapshot of it."""
    lines = succeed(store, *options, "export", "--format", "jsonl").stdout.splitlines()
    return [line for line in lines if b'"type":"store"' not in line]


def snapshots(store):
    lines = succeed(store, "--json", "snapshot", "list").stdout.splitlines()
    return [line["name"] for line in map(json.loads, lines)]


def take_some(store):
    """Snapshots of what is different each time; one of them was dropped."""
    remembered = {}
    for name, words in (("first", ("flag", INBOX, "2", "+Answered")), ("second", ("expunge", "--uid", "4", INBOX)),
                        ("third", ("flag", INBOX, "2", "-Answered", "+Draft")),
                        ("fourth", ("mailbox", "rename", "joe@example.com/Archive", "joe@example.com/Old"))):
        succeed(store, "snapshot", "take", name)
        remembered[name] = [line.decode() for line in shown(store)]
        succeed(store, *words)
    succeed(store, "snapshot", "drop", "third")
    del remembered["third"]
    with open(os.path.join(os.path.dirname(store), "shown.json"), "w", encoding="utf-8") as file:
        json.dump(remembered, file)


def take_and_remove(store):
    """A snapshot has a mailbox that is in quarantine now."""
    take_some(store)
    succeed(store, "mailbox", "remove", "-r", "joe@example.com/Old")


def take_and_drop(store):
    """Nothing needs what was kept for these any more."""
    take_some(store)
    succeed(store, "snapshot", "drop", "first")
    succeed(store, "snapshot", "drop", "fourth")


def require_snapshots(store, result, effect):
    """Those that are there, by whatever name, show what they did when they were taken."""
    with open(os.path.join(os.path.dirname(store), "shown.json"), encoding="utf-8") as file:
        remembered = {name: [line.encode() for line in lines] for name, lines in json.load(file).items()}
    left = [name for name in snapshots(store) if name not in ("new", "later")]
    for name in left:
        told = shown(store, "--snapshot", name)
        wanted = remembered.get("first" if name == "1st" else name)
        require(wanted is None or told == wanted,
                f"snapshot {name} shows {set(told) - set(wanted or [])} instead of {set(wanted or []) - set(told)}")
    # What is taken now is what is there now, and stays so, whatever is repaired. Only of a change that nobody was
    # told of it may be open whether it has come to pass, until then: index and files may tell different things.
    path = store + ".later"
    if not os.path.exists(path):
        succeed(store, "snapshot", "take", "later")
        with open(path, "wb") as file:
            file.write(b"\n".join(shown(store)))
    with open(path, "rb") as file:
        wanted = file.read().splitlines()
    told = shown(store, "--snapshot", "later")
    if result.returncode != 0:
        told, wanted = ([re.sub(rb'"(flags|keywords)":\[.*?\]|"(highest)?modseq":[0-9]+', b"", line) for line in lines]
                        for lines in (told, wanted))
    require(told == wanted, f"snapshot later shows {set(told) - set(wanted)} instead of {set(wanted) - set(told)}")


INBOX = "joe@example.com/INBOX"
OPERATIONS = {
    "deliver": [Operation("deliver", "--date", "@1700000500", "--flags", "\\Seen Work", INBOX,
                          stdin=sample.message(number)) for number in (51, 53)],
    "create": [Operation("deliver", "--create", "--date", "@1700000500", "joe@example.com/New/Sub",
                         stdin=sample.message(50)),
               Operation("deliver", "--create", "--date", "@1700000500", "new@example.org",
                         stdin=sample.message(50))],
    "flag": [Operation("flag", INBOX, "1,3,4", "=Flagged", "=Other")],
    "import": [Operation("import", "--format", kind, "{source}/" + kind, "joe@example.com")
               for kind in ("eml", "maildir", "mbox")],
    "reconstruct": [Operation("reconstruct", "-r", prepare=remove_indexes),
                    Operation("reconstruct", "-m", prepare=remove_list),
                    Operation("reconstruct", "-r", prepare=change_files)],
    "queue": [Operation("queue", "add", "check", INBOX, promise=require_queued),
              Operation("work", "--until-empty", prepare=queue_rebuild, promise=require_worked)],
    "reset": [Operation("reset", "joe@example.com")],
    "expunge": [Operation("expunge", INBOX, prepare=mark_deleted),
                Operation("expunge", "--uid", "2:4", INBOX, prepare=remove_indexes)],
    "cleanup": [Operation("cleanup", "--age", "0", prepare=expunge_some)],
    "purge": [Operation("purge", "--age", "0", prepare=leave_strays,
                        finish=("purge", "--age", "0"))],
    "recover": [Operation("recover", prepare=break_index, finish=("repair",))],
    "restore": [Operation("restore", "{source}/backup", prepare=lose_some,
                          finish=("repair",))],
    "undelete": [Operation("undelete", INBOX, prepare=expunge_some)],
    "copy": [Operation("copy", INBOX, "1:3", "joe@example.com/Archive"),
             Operation("copy", INBOX, "2", "anna@example.com")],
    "move": [Operation("move", INBOX, "1:3", "joe@example.com/Archive/2023"),
             Operation("move", INBOX, "1:2", "anna@example.com")],
    "mailbox": [Operation("mailbox", "rename", "joe@example.com/Archive", "joe@example.com/INBOX/Old/A"),
                Operation("mailbox", "remove", "-r", "joe@example.com/Archive"),
                Operation("mailbox", "remove", "-r", "joe@example.com"),
                Operation("mailbox", "subscribe", "joe@example.com/Archive/2023")],
    "snapshot": [Operation("snapshot", *words, prepare=prepare, lasting=require_snapshots)
                 for words, prepare in ((("take", "fifth"), take_some), (("drop", "second"), take_some),
                                        (("drop", "second"), take_and_drop),
                                        (("rename", "first", "1st"), take_some))],
    "keep": [Operation(*words, prepare=prepare, finish=finish, lasting=require_snapshots, every=2)
             for words, prepare, finish in (
                 (("flag", INBOX, "1,3", "=Flagged", "=Other"), take_some, None),
                 (("expunge", "--uid", "1:3", INBOX), take_some, None),
                 (("undelete", "--uid", "4:9", INBOX), take_some, None),
                 (("move", INBOX, "1:3", "anna@example.com"), take_some, None),
                 (("mailbox", "rename", "joe@example.com/Old", "joe@example.com/INBOX/A"), take_some, None),
                 (("mailbox", "remove", "-r", "joe@example.com/Old"), take_some, None),
                 (("cleanup", "--age", "0"), take_and_drop, None))],
}


def prepare_sources(path):
    os.mkdir(path)
    numbers = range(20, 32)
    sample.make_eml(os.path.join(path, "eml"), numbers)
    sample.make_maildir(os.path.join(path, "maildir"), numbers)
    sample.make_mbox(os.path.join(path, "mbox"), numbers)


def prepare_store(path):
    succeed(path, "init")
    for number in range(1, 7):
        succeed(path, "deliver", "--create", "--date", f"@{sample.DATE + number}",
                "--flags", ["", "\\Seen", "\\Flagged Work"][number % 3],
                ["joe@example.com/INBOX", "joe@example.com/Archive/2023"][number > 4],
                stdin=sample.message(number))
    succeed(path, "deliver", "--create", "anna@example.com", stdin=sample.message(7))


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
