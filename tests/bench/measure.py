# SPDX-License-Identifier: Apache-2.0
"""Timing commands side by side, and the table that comes of it."""
import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import Callable, NamedTuple, Optional


class Case(NamedTuple):
    command: str  # for the shell
    prepare: Optional[Callable] = None  # before each timing, not timed
    finish: Optional[Callable] = None


class Result:
    def __init__(self):
        self.seconds, self.kilobytes = [], []

    @property
    def time(self):
        return statistics.median(self.seconds)

    @property
    def memory(self):
        """MB of the largest process of the command, the most of all rounds."""
        return max(self.kilobytes) / 1024


def sh(command, **options):
    return subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL, **options)


def run_once(case, result, log):
    if case.prepare is not None:
        case.prepare()
    os.sync()
    # GNU time stands between, since the peak of a process begins with what its parent had.
    start = time.monotonic()
    done = subprocess.run(["/usr/bin/time", "-q", "-f", "%M", "-o", log, "bash", "-c", case.command],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    result.seconds.append(time.monotonic() - start)
    with open(log, encoding="ascii") as file:
        result.kilobytes.append(int(file.read().split()[-1]))
    if case.finish is not None:
        case.finish()
    if done.returncode != 0:
        sys.exit(f"{case.command}: exit {done.returncode}: {done.stderr.decode(errors='replace')}")


def interleave(cases, rounds, work):
    """Runs every case once, then every case again, ...: machines drift, and so they drift alike."""
    if shutil.which("/usr/bin/time") is None:
        sys.exit("needs GNU time (package time)")
    results = {name: Result() for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            run_once(case, results[name], os.path.join(work, "time"))
        print(f"round {number + 1} of {rounds}: {', '.join(cases)}", file=sys.stderr, flush=True)
    return results


class Table:
    """A line a figure; a figure passes when it is not above its target."""

    def __init__(self):
        self.failed = 0
        print(f"{'figure':<62} {'measured':>12} {'target':>9}")

    def line(self, name, measured, target=None, unit="x"):
        verdict = ""
        if target is not None:
            verdict = "pass" if measured <= target else "FAIL"
            self.failed += measured > target
        bound = "" if target is None else f"<= {target:g}"
        print(f"{name:<62} {measured:>10.2f} {unit:<2} {bound:>8} {verdict}", flush=True)

    def ratio(self, name, ours, theirs, target=None):
        self.line(f"{name} ({ours.time:.3g} s / {theirs.time:.3g} s)", ours.time / theirs.time, target)

    def skip(self, name, why):
        print(f"{name:<62} skipped: {why}", flush=True)
