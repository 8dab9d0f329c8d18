# SPDX-License-Identifier: Apache-2.0
"""Mounts of a store, and how fast they are."""
import collections
import json
import os
import statistics
import subprocess
import time

from measure import Case, interleave, sh

USER = "example.com/user/bench"
WORKLOADS = {
    "find": "find {} -printf '%s %T@\\n' >/dev/null",
    "cat": "find {} -type f -print0 | xargs -0 cat >/dev/null",
}


class Mounted:
    """A store, mounted for as long as it is entered."""

    def __init__(self, mailfs, store, path, *options):
        self.command = [mailfs, "-f", *options, store, path]
        self.path = path

    def __enter__(self):
        os.makedirs(self.path, exist_ok=True)
        self.process = subprocess.Popen(self.command)
        while not os.path.ismount(self.path):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command} does not mount")
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.path], check=True)
        self.process.wait()

    def memory(self):
        """The most that the daemon ever held, in MB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def measure_alone(directory, mailfs, store, variants, rounds):
    """Only ext4 and mailfs, where nothing else is there to compare with."""
    raw = os.path.join(store, "mail", USER)
    ratios = collections.defaultdict(dict)
    for workload, command in WORKLOADS.items():
        for variant, options in variants.items():
            point = os.path.join(directory, variant)
            mounts = []
            cases = {
                "raw": Case(command.format(raw)),
                "fresh": Case(command.format(os.path.join(point, USER)), lambda: mounts.append(
                    Mounted(mailfs, store, point, *options.split()).__enter__())),
                "warm": Case(command.format(os.path.join(point, USER)), None,
                             lambda: mounts.pop().__exit__()),
            }
            results = interleave(cases, rounds, directory)
            ratios[workload][variant] = tuple(results[name].time / results["raw"].time
                                              for name in ("fresh", "warm"))
    return ratios


def measure_beside_peers(directory, mailfs, store, variants, peers, rounds):
    """The peers' own script, with lines of ours; all look at one tree with the store's file names."""
    work = os.path.join(directory, "fuse")
    os.makedirs(os.path.join(work, "m"))
    sh(f"cp -a {store}/mail/{USER} {work}/tree && find {work}/tree -type d -empty -delete")
    extra, out = os.path.join(work, "extra"), os.path.join(work, "result.json")
    with open(extra, "w", encoding="utf-8") as file:
        for variant, options in variants.items():
            point = os.path.join(work, "m", variant)
            file.write(f"{variant} | {point} | mkdir -p {{mp}}.all && {mailfs} {options} {store} {{mp}}.all"
                       f" && mount --bind {{mp}}.all/{USER} {{mp}} | umount {{mp}}; umount {{mp}}.all\n")
    only = os.environ.get("BENCH_FUSE_ONLY", "find,cat")
    subprocess.run(["bash", os.path.join(peers, "fuse", "run.sh"), "--runs", str(rounds), "--only", only,
                    "--out", out], env=dict(os.environ, FB_WORK=work, EXTRA=extra), check=True)
    with open(out, encoding="utf-8") as file:
        times = json.load(file)

    ratios = collections.defaultdict(dict)
    for name, both in times.items():
        workload, filesystem = name.split("/", 1)
        raw = times[workload + "/raw"]
        base = statistics.median(raw["cold"] + raw["warm"])
        cold, warm = ([t for t in both[pass_] if t is not None] for pass_ in ("cold", "warm"))
        if cold and warm and filesystem != "raw":
            ratios[workload][filesystem] = (statistics.median(cold) / base, statistics.median(warm) / base)
    return ratios


def measure(directory, mailfs, store, variants, peers, rounds):
    """{workload: {filesystem: (fresh mount, second pass)}}, as ratios to the files on ext4."""
    if os.path.isdir(os.path.join(peers, "fuse")):
        return measure_beside_peers(directory, mailfs, store, variants, peers, rounds)
    return measure_alone(directory, mailfs, store, variants, rounds)
