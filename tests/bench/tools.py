# SPDX-License-Identifier: Apache-2.0
"""Runs of backup tools in which nothing has changed, in a mount and on ext4."""
import os
import shutil

from measure import Case, interleave, sh
from mount import Mounted

TOOLS = {
    "rsync -a": "rsync -a --delete {source}/ {copy}/",
    "rsync -aX": "rsync -aX --delete {source}/ {copy}/",
    "restic": "cd {source} && RESTIC_PASSWORD=x restic -q --cache-dir {copy}/cache -r {copy}/repository backup .",
}


def prepare(tool, source, copy):
    """The first run, which copies everything."""
    os.makedirs(copy)
    if tool == "restic":
        sh(f"RESTIC_PASSWORD=x restic -q --cache-dir {copy}/cache -r {copy}/repository init")
    sh(TOOLS[tool].format(source=source, copy=copy))


def measure(directory, mailfs, store, options, rounds):
    """{tool: (fresh mount, second run)}, as ratios to the same run on ext4."""
    point, raw = os.path.join(directory, "tools"), os.path.join(directory, "tools.raw")
    with Mounted(mailfs, store, point, *options):
        sh(f"cp -a {point} {raw}")
    ratios = {}
    for tool in filter(lambda tool: shutil.which(tool.split()[0]), TOOLS):
        copies = {source: f"{directory}/{os.path.basename(source)}.{tool.replace(' ', '')}" for source in (raw, point)}
        prepare(tool, raw, copies[raw])
        with Mounted(mailfs, store, point, *options):
            prepare(tool, point, copies[point])
        mounts = []
        command = {source: TOOLS[tool].format(source=source, copy=copy) for source, copy in copies.items()}
        cases = {
            "raw": Case(command[raw]),
            "fresh": Case(command[point], lambda: mounts.append(Mounted(mailfs, store, point, *options).__enter__())),
            "warm": Case(command[point], None, lambda: mounts.pop().__exit__()),
        }
        results = interleave(cases, rounds, directory)
        ratios[tool] = tuple(results[name].time / results["raw"].time for name in ("fresh", "warm"))
    return ratios
