# SPDX-License-Identifier: Apache-2.0
"""operations.py - what crash.py cuts short: command lines, the stores that they are run on, what they promise.

Environment: MAILFS_BUILD, the build directory; CRASH_ALL=1, every call is to be disturbed.
"""
import json
import os
import re
import shutil
import subprocess

import sample

BUILD = os.path.abspath(os.environ["MAILFS_BUILD"])
MAILSTORE = os.path.join(BUILD, "tools", "mailstore")
ALL = os.environ.get("CRASH_ALL") == "1"
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
