# SPDX-License-Identifier: Apache-2.0
"""How long a reader of a mount waits while the store is worked on."""
import os
import subprocess
import time

import mount


def walk(path):
    """Milliseconds of each thing that a reader asks for: an entry of a listing, its stat, a message."""
    waits = []

    def timed(act, *arguments):
        start = time.perf_counter()
        result = act(*arguments)
        waits.append((time.perf_counter() - start) * 1000)
        return result

    def read(name):
        with open(name, "rb") as file:
            return file.read()

    folders = [path]
    while folders:
        names = []
        with timed(os.scandir, folders.pop()) as entries:
            while (entry := timed(next, entries, None)) is not None:
                timed(entry.stat)
                (folders if entry.is_dir() else names).append(entry.path)
        for name in names:
            timed(read, name)
    return waits


def percentile(waits, part):
    return sorted(waits)[min(int(len(waits) * part), len(waits) - 1)]


def while_running(mailfs, store, point, user, command):
    """Waits of a reader of `user`, over fresh mounts, for as long as `command` runs; once where it is None."""
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL) if command is not None else None
    waits = []
    while True:
        with mount.Mounted(mailfs, store, point) as mounted:
            waits += walk(os.path.join(mounted.path, "example.com/user", user))
        if worker is None or worker.poll() is not None:
            return waits
