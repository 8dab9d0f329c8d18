# SPDX-License-Identifier: Apache-2.0
"""power_cut.py mail|snapshots - what is left of what was acknowledged when the power goes.

Mail is delivered to a store on ext4, on a disk that remembers its writes (block-log). Then the disk is
made again as it may be after a power cut at any moment: all that was written before the last flush, and
of what came later any part, torn anywhere between sectors. Mounted, it must hold every message that was
acknowledged before, and nothing that is cut; check must work and reconstruct lead to a clean check. The
same for snapshots, which are taken and dropped while mail is changed: each shows what it did when it was
taken.

Environment: as crash.py; CRASH_CUTS, how many cuts (default 100).
"""
import bisect
import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from typing import NamedTuple

import crash
import flatstore
import operations
import sample

CUTS = int(os.environ.get("CRASH_CUTS", 2000 if operations.ALL else 100))
STREAM = os.path.join(operations.BUILD, "tests", "bench-deliver")
BLOCK_LOG = os.path.join(operations.BUILD, "tests", "crash", "block-log")
IMAGE_SIZE = 160 << 20  # check finds fault with less room
SECTOR = 512
SUPERBLOCK_END = 2048  # ext4 does not mount with a torn one: its checksum is in the last sector
WRITE, FLUSH = 1, 2


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().strip()


class Mounted:
    """The ext4 in a file, mounted."""

    def __init__(self, image, mountpoint):
        self.device = run("losetup", "--find", "--show", image)
        self.image, self.mountpoint = image, mountpoint
        try:
            run("mount", "-t", "ext4", self.device, mountpoint)
        except subprocess.CalledProcessError:
            run("losetup", "--detach", self.device)
            raise

    def __enter__(self):
        return self.mountpoint

    def __exit__(self, *_):
        run("umount", self.mountpoint)
        run("losetup", "--detach", self.device)
        # Somebody else, as udev, may look at the device a little longer, and keeps the image open with it.
        while run("losetup", "--associated", self.image):
            time.sleep(0.01)


class Disk:
    """A disk that remembers, for as long as it is entered."""

    def __init__(self, image, log, path):
        self.command = [BLOCK_LOG, image, log, path]
        self.path = path

    def __enter__(self):
        with open(self.path, "xb"):
            pass
        self.process = subprocess.Popen(self.command)
        while not os.path.ismount(self.path):
            operations.require(self.process.poll() is None, "block-log does not start")
            time.sleep(0.01)
        return self.path

    def __exit__(self, *_):
        run("umount", self.path)
        self.process.wait()


class Acknowledged(NamedTuple):
    position: int  # the size of the log when the answer came
    mailbox: str
    uid: int
    sha256: str


def deliver_stream(store, log):
    """Deliveries by six threads to two users; returns what was acknowledged, which is all of it."""
    acknowledged = []
    with subprocess.Popen([STREAM, "store", store, "120", "6", "2"], stdout=subprocess.PIPE,
                          env=operations.ENVIRONMENT) as stream:
        for line in stream.stdout:
            user, uid, sha256 = line.decode().split()
            acknowledged.append(Acknowledged(os.stat(log).st_size, f"example.com/user/u{user}/INBOX",
                                             int(uid), sha256))
    operations.require(stream.returncode == 0 and len(acknowledged) == 120, "the stream failed")
    return acknowledged


def deliver_all(store, source, log):
    """Some deliveries, one after the other, a stream, then an import; returns what was acknowledged."""
    acknowledged = []
    operations.succeed(store, "init")
    for number in range(1, 26):
        text = sample.message(number)
        reply = operations.succeed(store, "deliver", "--create", f"joe@example.com/Box{number % 3}", stdin=text)
        acknowledged.append(Acknowledged(os.stat(log).st_size, f"example.com/user/joe/Box{number % 3}",
                                         int(reply.stdout), hashlib.sha256(text).hexdigest()))
    acknowledged += deliver_stream(store, log)
    operations.succeed(store, "import", "--format", "eml", os.path.join(source, "eml"), "anna@example.com")
    size = os.stat(log).st_size
    inbox = flatstore.read(store).mailboxes["example.com/user/anna/INBOX"]
    acknowledged += [Acknowledged(size, "example.com/user/anna/INBOX", uid, message.sha256)
                     for uid, message in inbox.messages.items()]
    return acknowledged


class Log:
    """The writes and flushes of a disk, by their end in the log."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        self.records, self.ends = [], []
        position = 0
        while position < len(data):
            kind, offset, size = struct.unpack_from("=QQQ", data, position)
            position += 24
            self.records.append((kind, offset, data[position:position + size]))
            position += size
            self.ends.append(position)

    def at(self, end):
        return bisect.bisect_right(self.ends, end)

    def cut(self, image, count, chance):
        """Turns `image` into a disk that lost power after `count` records."""
        flushed = max((i for i in range(count) if self.records[i][0] == FLUSH), default=0)
        with open(image, "r+b") as file:
            for i, (kind, offset, data) in enumerate(self.records[:count]):
                fate = chance.random() if i > flushed else 0
                if kind != WRITE or fate > 0.75:
                    continue
                if fate > 0.5 and offset >= SUPERBLOCK_END:
                    data = data[:SECTOR * chance.randrange(len(data) // SECTOR + 1)]
                file.seek(offset)
                file.write(data)


def check_cut(store, acknowledged, position, known):
    now = flatstore.read(store)
    for ack in acknowledged:
        if ack.position > position:
            continue
        mailbox = now.mailboxes.get(ack.mailbox)
        message = mailbox.messages.get(ack.uid) if mailbox is not None else None
        operations.require(message is not None, f"{ack.mailbox} {ack.uid} was acknowledged and is lost")
        operations.require(message.sha256 == ack.sha256, f"{ack.mailbox} {ack.uid} has other bytes")
    operations.require(not now.faults, f"not in order: {now.faults}")
    for path, mailbox in now.mailboxes.items():
        cut = [uid for uid, message in mailbox.messages.items() if message.sha256 not in known]
        operations.require(not cut, f"{path}: {cut} are cut")
    # What a process that is gone left in tmp/ goes with the next delivery.
    for name in os.listdir(os.path.join(store, "tmp")):
        shutil.rmtree(os.path.join(store, "tmp", name))
    crash.require_repairable(store, now)


class Mail:
    """Deliveries of all kinds."""

    def work(self, store, source, log):
        self.acknowledged = deliver_all(store, source, log)
        self.known = {hashlib.sha256(sample.message(number)).hexdigest() for number in range(100)}
        self.known |= {ack.sha256 for ack in self.acknowledged}
        self.begin = self.acknowledged[0].position
        self.count = f"{len(self.acknowledged)} messages"

    def check(self, store, position):
        check_cut(store, self.acknowledged, position, self.known)


class Taken(NamedTuple):
    name: str
    shown: list  # of lines
    position: int  # the size of the log when its taking was acknowledged
    begin: float = float("inf")  # likewise before it was dropped,
    end: float = float("inf")  # and when that was acknowledged


class Snapshots:
    """One before each of these changes; every third is dropped again."""
    CHANGES = [("flag", operations.INBOX, "2,3", "+Answered"), ("expunge", "--uid", "1", operations.INBOX),
               ("move", operations.INBOX, "2", "anna@example.com"), ("flag", operations.INBOX, "3", "=Draft", "=New"),
               ("mailbox", "rename", "joe@example.com/Archive", "joe@example.com/INBOX/Old"),
               ("flag", "joe@example.com/INBOX/Old/2023", "1:*", "+Seen"), ("undelete", operations.INBOX),
               ("mailbox", "remove", "-r", "joe@example.com/INBOX/Old"), ("cleanup", "--age", "0"),
               ("flag", "anna@example.com", "1:*", "+Flagged"), ("expunge", "--uid", "1:*", operations.INBOX)]

    def work(self, store, source, log):
        operations.prepare_store(store)
        self.begin = os.stat(log).st_size
        self.taken = []
        for number, words in enumerate(self.CHANGES):
            name = f"s{number}"
            operations.succeed(store, "snapshot", "take", name)
            self.taken.append(Taken(name, operations.shown(store), os.stat(log).st_size))
            operations.succeed(store, *words)
            if number % 3 == 2:
                begin = os.stat(log).st_size
                operations.succeed(store, "snapshot", "drop", name)
                self.taken[-1] = self.taken[-1]._replace(begin=begin, end=os.stat(log).st_size)
        self.count = f"{len(self.taken)} snapshots"

    def check(self, store, position):
        there = operations.snapshots(store)
        for snapshot in self.taken:
            if snapshot.position <= position <= snapshot.begin:
                operations.require(snapshot.name in there, f"{snapshot.name} is lost")
            if position >= snapshot.end:
                operations.require(snapshot.name not in there, f"{snapshot.name} is back")
            if snapshot.name in there:
                shown = operations.shown(store, "--snapshot", snapshot.name)
                operations.require(shown == snapshot.shown, f"{snapshot.name} shows {set(shown) - set(snapshot.shown)} "
                              f"instead of {set(snapshot.shown) - set(shown)}")


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not os.path.exists("/dev/fuse"):
        print("needs root, /dev/loop-control and /dev/fuse: skipped")
        sys.exit(77)
    work = {"mail": Mail, "snapshots": Snapshots}[sys.argv[1]]()
    top = crash.working_directory()
    image, base, log = (os.path.join(top, name) for name in ("image", "base", "log"))
    mountpoint, source = os.path.join(top, "mnt"), os.path.join(top, "source")
    os.mkdir(mountpoint)
    operations.prepare_sources(source)
    with open(image, "wb") as file:
        file.truncate(IMAGE_SIZE)
    run("mkfs.ext4", "-q", "-F", image)
    run("cp", "--sparse=always", image, base)
    with Disk(image, log, os.path.join(top, "disk")) as disk, Mounted(disk, mountpoint) as mounted:
        work.work(os.path.join(mounted, "store"), source, log)

    log = Log(log)
    chance = random.Random(7)
    for count in sorted(chance.sample(range(log.at(work.begin), len(log.records)), CUTS)):
        run("cp", "--sparse=always", base, image)
        log.cut(image, count, chance)
        try:
            with Mounted(image, mountpoint) as mounted:
                work.check(os.path.join(mounted, "store"), log.ends[count - 1])
        except operations.Violation as violation:
            sys.exit(f"power cut after {count} of {len(log.records)} records: {violation}; disk in {image}")
    print(f"{CUTS} power cuts in {len(log.records)} records: {work.count} safe")
    shutil.rmtree(top)


if __name__ == "__main__":
    main()
