# SPDX-License-Identifier: Apache-2.0
"""Runs of backup tools in which nothing has changed, in a mount and on ext4."""
import os
import shutil
import tempfile
from typing import NamedTuple

from measure import Case, interleave, sh
from mount import Mounted

RSYNC = "rsync {how} --delete {{source}}/ {{copy}}/"
# As mailfs-backup --low-latency does it.
LATENCY = "/dev/cpu_dma_latency"
AWAKE = f"exec 9>{LATENCY} && printf '\\0\\0\\0\\0' >&9 && "
RESTIC = "cd {source} && RESTIC_PASSWORD=x restic -q --cache-dir {copy}/cache -r {copy}/repository backup ."


class Tool(NamedTuple):
    name: str
    command: str
    options: str = "ro"


# The kernel keeps no attributes: a tool that asks for those of each file asks the daemon, every time.
TOOLS = [
    Tool("rsync -a", RSYNC.format(how="-a")),
    Tool("rsync -aX", RSYNC.format(how="-aX")),
    Tool("rsync -aX, awake", AWAKE + RSYNC.format(how="-aX")),
    Tool("restic", RESTIC),
    Tool("restic, awake", AWAKE + RESTIC),
    Tool("restic, xattrs=none", RESTIC, "ro,xattrs=none"),
]


class Copy:
    """What a tool has made of a directory."""

    def __init__(self, tool, source, path):
        os.makedirs(path)
        self.command = tool.command.format(source=source, copy=path)
        if RESTIC in tool.command:
            sh(f"RESTIC_PASSWORD=x restic -q --cache-dir {path}/cache -r {path}/repository init")
        sh(self.command)


def measure_tool(tool, directory, raw, mailfs, store, rounds):
    """(fresh mount, second run), as ratios to the same run on the directory raw."""
    point = os.path.join(directory, "tools")
    path = tempfile.mkdtemp(dir=directory)
    of_raw = Copy(tool, raw, os.path.join(path, "raw"))
    with Mounted(mailfs, store, point, "-o", tool.options):
        of_mount = Copy(tool, point, os.path.join(path, "mount"))
    mounts = []
    cases = {
        "raw": Case(of_raw.command),
        "fresh": Case(of_mount.command, lambda: mounts.append(
            Mounted(mailfs, store, point, "-o", tool.options).__enter__())),
        "warm": Case(of_mount.command, None, lambda: mounts.pop().__exit__()),
    }
    results = interleave(cases, rounds, directory)
    return tuple(results[name].time / results["raw"].time for name in ("fresh", "warm"))


def measure(directory, mailfs, store, rounds):
    """Yields the name of a tool and its ratios, for each that there is."""
    raw = os.path.join(directory, "tools.raw")
    with Mounted(mailfs, store, os.path.join(directory, "tools"), "-o", "ro") as mounted:
        sh(f"cp -a {mounted.path} {raw}")
    for tool in TOOLS:
        if AWAKE in tool.command and not os.access(LATENCY, os.W_OK):
            continue
        if shutil.which(tool.name.split()[0].rstrip(",")) is not None:
            yield tool.name, *measure_tool(tool, directory, raw, mailfs, store, rounds)
