# SPDX-License-Identifier: Apache-2.0
"""power_cut.py - what is left of acknowledged mail when the power goes.

Mail is delivered to a store on ext4, on a disk that remembers its writes (block-log). Then the disk is
made again as it may be after a power cut at any moment: all that was written before the last flush, and
of what came later any part, torn anywhere between sectors. Mounted, it must hold every message that was
acknowledged before, and nothing that is cut; check must work and reconstruct lead to a clean check.

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
import sample

CUTS = int(os.environ.get("CRASH_CUTS", 2000 if crash.ALL else 100))
STREAM = os.path.join(crash.BUILD, "tests", "bench-deliver")
BLOCK_LOG = os.path.join(crash.BUILD, "tests", "crash", "block-log")
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
        self.mountpoint = mountpoint
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
            crash.require(self.process.poll() is None, "block-log does not start")
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
                          env=crash.ENVIRONMENT) as stream:
        for line in stream.stdout:
            user, uid, sha256 = line.decode().split()
            acknowledged.append(Acknowledged(os.stat(log).st_size, f"example.com/user/u{user}/INBOX",
                                             int(uid), sha256))
    crash.require(stream.returncode == 0 and len(acknowledged) == 120, "the stream failed")
    return acknowledged


def deliver_all(store, source, log):
    """Some deliveries, one after the other, a stream, then an import; returns what was acknowledged."""
    acknowledged = []
    crash.succeed(store, "init")
    for number in range(1, 26):
        text = sample.message(number)
        reply = crash.succeed(store, "deliver", "--create", f"joe@example.com/Box{number % 3}", stdin=text)
        acknowledged.append(Acknowledged(os.stat(log).st_size, f"example.com/user/joe/Box{number % 3}",
                                         int(reply.stdout), hashlib.sha256(text).hexdigest()))
    acknowledged += deliver_stream(store, log)
    crash.succeed(store, "import", "--format", "eml", os.path.join(source, "eml"), "anna@example.com")
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
        crash.require(message is not None, f"{ack.mailbox} {ack.uid} was acknowledged and is lost")
        crash.require(message.sha256 == ack.sha256, f"{ack.mailbox} {ack.uid} has other bytes")
    crash.require(not now.faults, f"not in order: {now.faults}")
    for path, mailbox in now.mailboxes.items():
        cut = [uid for uid, message in mailbox.messages.items() if message.sha256 not in known]
        crash.require(not cut, f"{path}: {cut} are cut")
    # What a process that is gone left in tmp/ goes with the next delivery.
    for name in os.listdir(os.path.join(store, "tmp")):
        shutil.rmtree(os.path.join(store, "tmp", name))
    crash.require_repairable(store, now)


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not os.path.exists("/dev/fuse"):
        print("needs root, /dev/loop-control and /dev/fuse: skipped")
        sys.exit(77)
    top = crash.working_directory()
    image, base, log = (os.path.join(top, name) for name in ("image", "base", "log"))
    mountpoint, source = os.path.join(top, "mnt"), os.path.join(top, "source")
    os.mkdir(mountpoint)
    crash.prepare_sources(source)
    with open(image, "wb") as file:
        file.truncate(IMAGE_SIZE)
    run("mkfs.ext4", "-q", "-F", image)
    run("cp", "--sparse=always", image, base)
    with Disk(image, log, os.path.join(top, "disk")) as disk, Mounted(disk, mountpoint) as mounted:
        acknowledged = deliver_all(os.path.join(mounted, "store"), source, log)

    log = Log(log)
    known = {hashlib.sha256(sample.message(number)).hexdigest() for number in range(100)}
    known |= {ack.sha256 for ack in acknowledged}
    first = log.at(acknowledged[0].position)
    chance = random.Random(7)
    for count in sorted(chance.sample(range(first, len(log.records)), CUTS)):
        run("cp", "--sparse=always", base, image)
        log.cut(image, count, chance)
        try:
            with Mounted(image, mountpoint) as mounted:
                check_cut(os.path.join(mounted, "store"), acknowledged, log.ends[count - 1], known)
        except crash.Violation as violation:
            sys.exit(f"power cut after {count} of {len(log.records)} records: {violation}; disk in {image}")
    print(f"{CUTS} power cuts in {len(log.records)} records: {len(acknowledged)} messages safe")
    shutil.rmtree(top)


if __name__ == "__main__":
    main()
