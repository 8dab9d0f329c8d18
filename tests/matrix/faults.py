# SPDX-License-Identifier: Apache-2.0
"""What can happen to a file, or to an attribute of one."""
import os
import random

PAGE = 4096
STRIDE = 256  # bytes from one bit that flips to the next


class File:
    """What is done to its bytes leaves its times as they are, as a failing disk does."""

    def __init__(self, path):
        self.path = path

    def read(self):
        with open(self.path, "rb") as file:
            return file.read()

    def write(self, data):
        times = os.stat(self.path)
        with open(self.path, "r+b") as file:
            file.truncate(len(data))
            file.write(data)
        os.utime(self.path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def delete(self):
        os.unlink(self.path)


class Attribute:
    """An extended attribute of a file or directory."""

    def __init__(self, path, name):
        self.path, self.name = path, name

    def read(self):
        return os.getxattr(self.path, self.name)

    def write(self, data):
        os.setxattr(self.path, self.name, data)

    def delete(self):
        os.removexattr(self.path, self.name)


def delete(victim, _):
    victim.delete()


def cut(quarters):
    def effect(victim, _):
        data = victim.read()
        victim.write(data[:len(data) * quarters // 4])
    return effect


def zero_page(victim, _):
    """The page in the middle; all there is, if that is no more than one."""
    data = bytearray(victim.read())
    start = len(data) // 2 // PAGE * PAGE
    end = min(start + PAGE, len(data))
    data[start:end] = bytes(end - start)
    victim.write(bytes(data))


def flip_bits(victim, _):
    """None that makes a blank of a zero: a number that is two makes sense as often as a clock has a zero there."""
    data = bytearray(victim.read())
    for start in range(0, len(data), STRIDE):
        at = start + min(STRIDE, len(data) - start) // 3
        while data[at] == ord("0") and at + 1 < len(data):
            at += 1
        data[at] ^= 0x10
    victim.write(bytes(data))


def replace_by_rubbish(victim, _):
    size = max(100, len(victim.read()))
    victim.write(random.Random(size).randbytes(size))


def replace_by_directory(victim, _):
    victim.delete()
    os.mkdir(victim.path, 0o750)


def replace_by_link(victim, outside):
    """To what it was, which lies outside of the store now: to follow the link would look right."""
    target = os.path.join(outside, os.path.basename(victim.path))
    os.rename(victim.path, target)
    os.symlink(target, victim.path)


def forbid(victim, _):
    os.chmod(victim.path, 0)


BYTES = {"delete": delete, "cut 1/4": cut(1), "cut 1/2": cut(2), "cut 3/4": cut(3), "zero page": zero_page,
         "flip bits": flip_bits, "rubbish": replace_by_rubbish}
EFFECTS = BYTES | {"directory": replace_by_directory, "link": replace_by_link, "forbidden": forbid}
