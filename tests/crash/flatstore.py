# SPDX-License-Identifier: Apache-2.0
"""Reads a mail store from its flat files alone, by docs/format.md.

It shares no code with the programs, knows nothing of the index and believes nothing that it has not
read: the tests hold what the programs say against it.
"""
import collections
import hashlib
import os
import re
import stat
from typing import NamedTuple

MESSAGE = re.compile(r"[0-9]{10}\.eml")
SYSTEM_FLAGS = {"\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"}
KEYWORD = re.compile(r"""[^\x00-\x20\x7f(){%*"\\\]]+""")


class Message(NamedTuple):
    sha256: str
    flags: frozenset
    mtime: int
    modseq: int
    is_expunged: bool  # by its state; where it lies counts


class Mailbox(NamedTuple):
    number: int
    uidvalidity: int
    uidnext: int
    messages: dict  # UID: Message
    expunged: dict


class FlatStore(NamedTuple):
    mailboxes: dict  # path below mail/: Mailbox
    faults: list     # what no store may look like, ever
    removed: dict    # mailboxes in quarantine, by the path below mail/ that they came from

    def whole(self):
        """All mailboxes: those that were removed where they were."""
        return self.removed | self.mailboxes

    def named_as(self, other):
        """The same with the names that the mailboxes, told by their numbers, have in `other`."""
        names = {mailbox.number: path for path, mailbox in other.mailboxes.items()}
        return self._replace(mailboxes={names.get(mailbox.number, path): mailbox
                                        for path, mailbox in self.mailboxes.items()})

    def contents(self):
        """What a user has, and could have back: everything but the numbers."""
        return collections.Counter((path, place, message.sha256, message.flags, message.mtime)
                                   for path, mailbox in self.mailboxes.items()
                                   for place in ("messages", "expunged")
                                   for message in getattr(mailbox, place).values())

    def mail(self):
        """The same, wherever in its mailbox it lies."""
        return collections.Counter((path, *rest) for path, _, *rest in self.contents().elements())

    def misplaced(self):
        """Messages whose state says that they lie in the other place; only for a while, after a crash."""
        return [(path, uid) for path, mailbox in self.mailboxes.items()
                for is_expunged, place in ((False, mailbox.messages), (True, mailbox.expunged))
                for uid, message in place.items() if message.is_expunged != is_expunged]

    def changed_since(self, before):
        """The mailboxes that hold other messages now; (path, mailbox)."""
        return [(path, mailbox) for path, mailbox in self.mailboxes.items()
                if mailbox.messages and mailbox != before.mailboxes.get(path)]


class Fault(Exception):
    pass


def attribute(path, name):
    try:
        return os.getxattr(path, name, follow_symlinks=False).decode()
    except OSError as error:
        raise Fault(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Fault(f"{name}: not UTF-8") from None


def fields(path, name, count):
    words = attribute(path, name).split(" ")
    if words[0] != "1" or len(words) < count or not all(w.isdigit() for w in words[1:count]):
        raise Fault(f"{name} makes no sense: {' '.join(words)}")
    return words


def read_message(path):
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != 0o640:
        raise Fault(f"mode {status.st_mode:o}")
    words = fields(path, "user.mailfs.state", 4)
    if len(words) < 5:
        raise Fault(f"user.mailfs.state makes no sense: {' '.join(words)}")
    _, modseq, birth, expunged, prefix, *flags = words
    system = [f for f in flags if f in SYSTEM_FLAGS]
    keywords = [f for f in flags if f not in SYSTEM_FLAGS]
    if flags != sorted(set(system)) + sorted(set(keywords)) or not all(map(KEYWORD.fullmatch, keywords)):
        raise Fault(f"flags {flags}")
    if int(modseq) == 0 or int(birth) == 0 and int(expunged) > 0:
        raise Fault(f"modseq {modseq}, birth {birth}, expunged {expunged}")
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    if prefix != digest[:16]:
        raise Fault(f"digest {prefix}, the bytes have {digest[:16]}")
    return Message(digest, frozenset(flags), int(status.st_mtime), int(modseq), int(expunged) > 0)


class Reader:
    def __init__(self, store):
        self.mail = os.path.join(store, "mail")
        self.quarantine = os.path.join(store, "quarantine")
        self.faults = []
        self.mailboxes = {}
        self.numbers = {}

    def checked(self, path, function, *arguments):
        try:
            return function(*arguments)
        except Fault as fault:
            self.faults.append(f"{os.path.relpath(path, self.mail)}: {fault}")
            return None

    def number(self, path, name, count):
        """The attribute of a directory; its number must be its own."""
        words = fields(path, name, count)
        other = self.numbers.setdefault(int(words[1]), path)
        if other != path:
            raise Fault(f"has the number of {os.path.relpath(other, self.mail)}")
        return words

    def messages(self, directory):
        found = {}
        for name in os.listdir(directory) if os.path.isdir(directory) else []:
            path = os.path.join(directory, name)
            if MESSAGE.fullmatch(name):
                message = self.checked(path, read_message, path)
                if message is not None:
                    found[int(name[:10])] = message
        return found

    def mailbox(self, path):
        words = self.checked(path, self.number, path, "user.mailfs.mailbox", 6)
        live = self.messages(path)
        expunged = self.messages(os.path.join(path, ".expunged"))
        if words is not None:
            _, number, uidvalidity, uidnext = map(int, words[:4])
            if not uidvalidity or any(uid >= uidnext for uid in [*live, *expunged]):
                self.faults.append(f"{os.path.relpath(path, self.mail)}: {' '.join(words)}")
            self.mailboxes[os.path.relpath(path, self.mail)] = Mailbox(
                number, uidvalidity, uidnext, live, expunged)
        for name in os.listdir(path):
            child = os.path.join(path, name)
            if os.path.isdir(child):
                if not name.startswith("."):
                    self.mailbox(child)
            elif not MESSAGE.fullmatch(name) and not name.startswith("."):
                self.faults.append(f"{os.path.relpath(child, self.mail)}: does not belong here")

    def top(self, directory, name, count):
        """The directories in `directory`, whose own attribute is read on the way."""
        self.checked(directory, self.number, directory, name, count)
        return [os.path.join(directory, child) for child in os.listdir(directory)
                if not child.startswith(".")]

    def read(self):
        for domain in os.listdir(self.mail):
            for side in self.top(os.path.join(self.mail, domain), "user.mailfs.directory", 2):
                users = [side]
                if os.path.basename(side) == "user":
                    users = self.top(side, "user.mailfs.directory", 2)
                for user in users:
                    for mailbox in self.top(user, "user.mailfs.user", 2):
                        self.mailbox(mailbox)
        mailboxes, self.mailboxes = self.mailboxes, {}
        for stamp in os.listdir(self.quarantine):
            self.mail = os.path.join(self.quarantine, stamp)
            for path, names, _ in os.walk(self.mail):
                if "user.mailfs.mailbox" in os.listxattr(path):
                    self.mailbox(path)
                    names.clear()
        return FlatStore(mailboxes, self.faults, self.mailboxes)


def read(store):
    return Reader(store).read()
