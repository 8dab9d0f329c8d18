# SPDX-License-Identifier: Apache-2.0
"""matrix.py WORK [OBJECT]... - what becomes of a store of which one file is damaged.

For each kind of file that a store has, and each thing that may happen to it, five copies of one store are damaged so.
One is mounted as evidence, one is mounted, one is checked, one repaired and one reconstructed, and then checked and
mounted. What is shown, told and mended is compared with what model.py says of it: nothing may be lost but
what the damage itself destroyed; a check and the mount of evidence change nothing; nobody follows a link
out of the store. Prints a table of what came of it.
"""
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "crash"))

import evidence
import faults
import model
import sample_store
import shown

NOBODY = 65534
COLUMNS = "forensic", "mount", "check", "repair", "reconstruct"


def differences(wanted, found):
    """What is shown otherwise than it was: by path, the error that reading gives, "gone", "new" or "other"."""
    told = {}
    for path in wanted.keys() | found.keys():
        before, now = wanted.get(path), found.get(path)
        if before == now:
            continue
        if before is None or now is None:
            told[path] = "new" if before is None else "gone"
        elif isinstance(now, shown.Message) and now == before._replace(sha256=now.sha256):
            told[path] = now.sha256 if now.sha256.startswith("E") else "other"
        else:
            told[path] = "other"
    return told


class Trial:
    """One damage, and what becomes of it in each way."""

    def __init__(self, work, name, effect, wanted):
        self.directory = tempfile.mkdtemp(dir=work)
        self.base, self.wanted = os.path.join(work, "base"), wanted
        self.name, self.effect = name, effect
        self.user = NOBODY if effect == "forbidden" else 0
        os.chmod(self.directory, 0o711)

    def damaged(self, column):
        """A store to which it has happened."""
        store = os.path.join(self.directory, column)
        self.outside, self.mountpoint = f"{store}.outside", f"{store}.mnt"
        for made in (self.outside, self.mountpoint):
            os.mkdir(made)
        os.chown(self.mountpoint, self.user, -1)
        shutil.copytree(self.base, store, symlinks=True)
        sample_store.run(store, "reconstruct", "-r")  # a copy has other change times: that is no damage
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user}:{self.user}", store], check=True)
        faults.EFFECTS[self.effect](model.OBJECTS[self.name](store), self.outside)
        return store

    def look(self, store, options):
        """What a mount shows otherwise than it was, of the store and of the snapshot."""
        with shown.Mount(store, self.mountpoint, options, self.user) as mount:
            now = differences(self.wanted[0], mount.read())
            try:
                past = differences(self.wanted[1], mount.read(".ctl/snapshots/before"))
            except OSError as error:
                past = {"": shown.name_of(error)}
        return now, past

    def tell(self, store, *words):
        """The problems that a command leaves."""
        rows = sample_store.rows(store, *words, user=self.user or None, expect=(0, 1))
        return frozenset(row["problem"] for row in rows if row["type"] == "finding" and row["outcome"] == "left")

    def forensic(self, store):
        before = evidence.record(store)
        outcome = model.Outcome("", *self.look(store, "ro,forensic"))
        evidence.require_same(before, evidence.record(store))
        return outcome

    def mount(self, store):
        return model.Outcome("", *self.look(store, "worker=off"))

    def check(self, store):
        before = evidence.record(store)
        told = self.tell(store, "check", "--full")
        evidence.require_same(before, evidence.record(store))
        return model.Outcome(told=told)

    def mended(self, store, *commands):
        """After the commands the store is used: nothing of what happened may keep new mail from coming."""
        for words in commands:
            self.tell(store, *words)
        told = self.tell(store, "check", "--full")
        outcome = model.Outcome("", *self.look(store, "worker=off"), told)
        sample_store.deliver_more(store, self.user or None)
        return outcome

    def repair(self, store):
        return self.mended(store, ("repair", "--full"))

    def reconstruct(self, store):
        return self.mended(store, ("reconstruct", "-m"), ("reconstruct", "-r", "--force"))

    def run(self, column):
        store = self.damaged(column)
        outside = evidence.record(self.outside)
        try:
            outcome = getattr(self, column)(store)
        except sample_store.Failure as failure:
            outcome = model.Outcome(refused=str(failure))
        evidence.require_same(outside, evidence.record(self.outside))
        return outcome

    def judge(self, column):
        """The outcome as the table has it, and what is wrong with it."""
        wanted = model.expected(self.name, self.effect, column)
        try:
            outcome = self.run(column)
        except evidence.Changed as changed:
            return "changes", f"{changed} changes"
        if wanted.refused and wanted.refused in outcome.refused:
            return "refused", None
        wrong = [f"{field} {now}, not {then}" for field, now, then in zip(wanted._fields, outcome, wanted) if now != then]
        return describe(outcome, column), "; ".join(wrong) or None


def describe(outcome, column):
    """In a few words."""
    if outcome.refused:
        return "refused"
    parts = []
    if outcome.told or column in ("check", "repair", "reconstruct"):
        parts.append(", ".join(sorted(outcome.told)) or "-")
    if outcome.live or column in ("forensic", "mount"):
        parts.append(", ".join(sorted(set(outcome.live.values()))) or "all")
    if outcome.past:
        parts.append(f"snapshot: {', '.join(sorted(set(outcome.past.values())))}")
    return "; ".join(parts)


def run_trial(arguments):
    trial = Trial(*arguments)
    judged = [trial.judge(column) for column in COLUMNS]
    shutil.rmtree(trial.directory)
    wrong = [f"{trial.name}, {trial.effect}, {column}: {fault}"
             for column, (_, fault) in zip(COLUMNS, judged) if fault is not None]
    return trial.name, trial.effect, [text for text, _ in judged], wrong


def prepare(work):
    base, mountpoint = os.path.join(work, "base"), os.path.join(work, "mnt")
    os.mkdir(mountpoint)
    sample_store.make(base)
    with shown.Mount(base, mountpoint, "worker=off", 0) as mount:
        before = mount.read()
    sample_store.run(base, "snapshot", "take", "before")
    sample_store.age(base)
    with shown.Mount(base, mountpoint, "worker=off", 0) as mount:
        now = mount.read()
        with open(f"{mountpoint}/example.com/user/anna/.ctl/check", "w", encoding="ascii") as order:
            order.write("1\n")  # that is one for the audit
    sample_store.run(base, "check", "--full")
    return now, before


def print_row(name, cells):
    print(f"{name:18} {cells[0]:10} " + " ".join(f"{cell:34}" for cell in cells[1:]).rstrip(), flush=True)


def main(work, names):
    wanted = prepare(work)
    trials = [(work, name, effect, wanted) for name in names or model.OBJECTS for effect in model.effects_on(name)]
    faults_found = []
    print_row("", ("", *COLUMNS))
    with multiprocessing.Pool(2) as pool:
        last = None
        for name, effect, texts, wrong in pool.imap(run_trial, trials):
            print_row(name if name != last else "", (effect, *texts))
            print("".join(f"  WRONG: {fault}\n" for fault in wrong), end="")  # a log may not keep the end
            faults_found += wrong
            last = name
    if faults_found:
        sys.exit("\n".join((*faults_found, f"{len(faults_found)} outcomes are not as they should be")))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
