# SPDX-License-Identifier: Apache-2.0
"""What a mount shows, by mounting it and reading all of it."""
import errno
import hashlib
import os
import pickle
import subprocess
import time
from typing import NamedTuple

import sample_store


class Message(NamedTuple):
    sha256: str  # or the name of the error
    mtime: int
    flags: frozenset


class Mailbox(NamedTuple):
    uidvalidity: str
    subscribed: str
    special_use: str
    name: str


def name_of(error):
    return errno.errorcode[error.errno]


def attribute(path, name):
    try:
        return os.getxattr(path, f"user.mailfs.{name}").decode()
    except OSError as error:
        if error.errno == errno.ENODATA:
            return ""
        raise


def read_message(path):
    status = os.stat(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
        digest = hashlib.sha256(data).hexdigest()
    except OSError as error:
        digest = name_of(error)
    return Message(digest, int(status.st_mtime), frozenset(attribute(path, "flags").split()))


def read_tree(path, found=None, prefix=""):
    """All messages and mailboxes, by their paths."""
    found = {} if found is None else found
    for name in sorted(os.listdir(path)):
        child = os.path.join(path, name)
        if name.endswith(".eml"):
            found[prefix + name] = read_message(child)
        else:
            if attribute(child, "uidvalidity"):
                found[prefix + name] = Mailbox(*(attribute(child, key) for key in Mailbox._fields))
            read_tree(child, found, f"{prefix}{name}/")
    return found


def as_user(user, function, *arguments):
    """Calls it in a process of that user."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            result = function(*arguments)
        except Exception as error:  # told by the parent
            result = error
        with open(send, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(send)
    with open(receive, "rb") as file:
        result = pickle.load(file)
    os.waitpid(child, 0)
    if isinstance(result, Exception):
        raise result
    return result


class Mount:
    """The store as a mount, for as long as it is entered. Failure: it is refused; the text says why."""

    def __init__(self, store, mountpoint, options, user):
        self.command = ["mailfs", "-f", "-o", options, store, mountpoint]
        self.mountpoint, self.user = mountpoint, user

    def __enter__(self):
        groups = {} if self.user == 0 else {"user": self.user, "group": self.user, "extra_groups": []}
        self.daemon = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **groups)
        end = time.monotonic() + 60
        while not self.is_mounted():
            if self.daemon.poll() is not None:
                raise sample_store.Failure(self.daemon.stderr.read().decode(errors="replace").strip())
            if time.monotonic() > end:
                self.daemon.kill()
                raise sample_store.Failure("does not mount")
            time.sleep(0.002)
        return self

    def is_mounted(self):
        try:
            return os.path.samefile(self.mountpoint, os.path.join(self.mountpoint, "..")) or \
                os.stat(self.mountpoint).st_dev != os.stat(os.path.dirname(self.mountpoint)).st_dev
        except PermissionError:  # a mount is its owner's
            return True

    def __exit__(self, *_):
        subprocess.run(["umount", self.mountpoint], check=True)
        self.log = self.daemon.communicate(timeout=60)[1].decode(errors="replace")

    def read(self, below=""):
        """What is shown below a directory."""
        path = os.path.join(self.mountpoint, below)
        return read_tree(path) if self.user == 0 else as_user(self.user, read_tree, path)
