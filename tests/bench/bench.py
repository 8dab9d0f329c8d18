# SPDX-License-Identifier: Apache-2.0
"""bench.py [PART...] - the parts are the functions part_*() below; run.sh sets the environment."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import corpus
import latency
import measure
import mount
import tools
from measure import Case, Table, interleave, sh

BUILD, WORK, PEERS = (os.path.abspath(os.environ[name])
                      for name in ("MAILFS_BUILD", "BENCH_WORK", "BENCH_PEERS"))
HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", 20000))
MAILSTORE = os.path.join(BUILD, "tools", "mailstore")
MAILFS = os.path.join(BUILD, "fs", "mailfs")


class Bench:
    def __init__(self):
        os.makedirs(WORK, exist_ok=True)
        # Nothing is removed before the end: ext4 goes slowly over inodes that were freed lately.
        self.directory = tempfile.mkdtemp(prefix="run.", dir=WORK)
        self.corpus = os.environ.get("BENCH_CORPUS") or corpus.make_realistic(
            os.path.join(WORK, f"corpus{MESSAGES}"), MESSAGES, PEERS)
        self.count = corpus.count(self.corpus)
        self.table = Table()
        self._store = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def new_store(self, name):
        sh(f"{MAILSTORE} -q init {self.path(name)}")
        return self.path(name)

    @property
    def store(self):
        """A store that holds the corpus, made when it is first needed."""
        if self._store is None:
            store = self.new_store("store")
            sh(f"{MAILSTORE} -q -s {store} import --format maildir {self.corpus} joe@example.com && sync")
            self._store = store
        return self._store


# ---- rebuilding ----------------------------------------------------------------------------------

def peer_cases():
    """The command lines of Cyrus and Dovecot on their copies of the corpus, by name."""
    work = os.environ.get("BENCH_PEERS_WORK", os.path.join(WORK, "peers"))
    cases = os.path.join(work, "cases.jsonl")
    if not os.path.isdir(PEERS):
        return {}
    if not os.path.exists(cases):
        environment = dict(os.environ, PB_WORK=work, PB_COUNT=str(MESSAGES), PB_COLLECT=cases)
        for script in ("setup", "bench_dovecot", "bench_cyrus"):
            sh(f"bash {PEERS}/peers/{script}.sh", env=environment)
    with open(cases, encoding="utf-8") as file:
        return {case["name"]: case for case in map(json.loads, file)}


def peer(case):
    prepare = (lambda: sh(case["prep"])) if case["prep"] else None
    return Case(f"{case['cmd']} && sync", prepare)


def part_reconstruct(bench):
    """Rebuilding every index from the files; and finding that nothing has changed."""
    store, peers = bench.store, peer_cases()
    command = f"{MAILSTORE} -q -s {store} reconstruct -r && sync"
    ours = {"mailfs": Case(command, lambda: shutil.rmtree(os.path.join(store, "index"))),
            "mailfs unchanged": Case(command)}
    wanted = {"cyrus": "cyrus_reconstruct_first", "cyrus unchanged": "cyrus_reconstruct_nochange",
              "dovecot": "dovecot_fetch_first", "dovecot unchanged": "dovecot_fetch_nochange"}
    # A peer's case "unchanged" comes right after the one that made its index.
    cases = ours | {name: peer(peers[of]) for name, of in wanted.items() if of in peers}
    results = interleave(cases, ROUNDS, bench.directory)
    for name, target in (("cyrus", 0.3), ("cyrus unchanged", 0.4), ("dovecot", 1), ("dovecot unchanged", None)):
        mine = "mailfs unchanged" if "unchanged" in name else "mailfs"
        if name in results:
            bench.table.ratio(f"reconstruct, to {name}", results[mine], results[name], target)
        else:
            bench.table.skip(f"reconstruct, to {name}", "no peers")
    bench.table.line("reconstruct, messages a second", bench.count / results["mailfs"].time, None, "/s")
    bench.table.line("reconstruct, peak memory", results["mailfs"].memory, 64, "MB")
    size = sum(os.path.getsize(os.path.join(directory, name))
               for directory, _, names in os.walk(os.path.join(store, "index")) for name in names)
    bench.table.line("index, bytes a message", size / bench.count, 1000, "B")


# ---- checking ------------------------------------------------------------------------------------

def part_check(bench):
    """Comparing files and index; and reading every message, against reading and hashing alone."""
    store, peers = bench.store, peer_cases()
    program = bench.path("hash")
    sh(f"cc -O2 -D_GNU_SOURCE -o {program} {os.path.join(HERE, 'hash.c')} -lcrypto")
    cases = {"check": Case(f"{MAILSTORE} -q -s {store} check"),
             "check --full": Case(f"{MAILSTORE} -q -s {store} check --full"),
             "hash": Case(f"{program} {store}/mail")}
    if "cyrus_chk_cyrus" in peers:
        cases["chk_cyrus"] = Case(peers["cyrus_chk_cyrus"]["cmd"])
    results = interleave(cases, ROUNDS, bench.directory)
    if "chk_cyrus" in results:
        bench.table.ratio("check, to chk_cyrus", results["check"], results["chk_cyrus"], 0.4)
    else:
        bench.table.skip("check, to chk_cyrus", "no peers")
    bench.table.ratio("check --full, to reading and hashing", results["check --full"], results["hash"], 1.5)
    bench.table.line("check --full, peak memory", results["check --full"].memory, 64, "MB")


def part_import(bench):
    """Import by copy against cp -a, both into a fresh directory and synced."""
    fresh = iter(range(1000))

    def new_store():
        store = bench.new_store(f"import{next(fresh)}")
        link = bench.path("import")
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(store, link)

    cases = {
        "import": Case(f"{MAILSTORE} -q -s $(readlink {bench.path('import')}) import --format maildir --copy"
                       f" {bench.corpus} joe@example.com && sync", new_store),
        "cp -a": Case(f"cp -a {bench.corpus} $(mktemp -d -p {bench.directory} cp.XXXX) && sync"),
    }
    results = interleave(cases, ROUNDS, bench.directory)
    bench.table.ratio("import by copy, to cp -a", results["import"], results["cp -a"], 2)


def part_deliver(bench):
    """Messages delivered one at a time, each on disk before the next, against the bare system calls."""
    program, count, fresh = os.path.join(BUILD, "tests", "bench-deliver"), 1600, iter(range(1000))
    link = bench.path("deliver")

    def prepare(users):
        store = bench.new_store(f"deliver{next(fresh)}")
        sh(f"{program} store {store} {users} 1 {users}; ln -sfn {store} {link}")

    def into_store(messages, threads, users):
        return f"{program} store $(readlink {link}) {messages} {threads} {users}"

    results = interleave({
        "bare": Case(f"{program} bare $(mktemp -d -p {bench.directory} bare.XXXX) {count}"),
        "one": Case(into_store(count, 1, 1), lambda: prepare(1)),
        "threads": Case(into_store(count, 16, 1), lambda: prepare(1)),
        "users": Case(into_store(count, 16, 16), lambda: prepare(16)),
        "processes": Case(f"for i in {{1..16}}; do {into_store(count // 16, 1, 1)} & done; wait",
                          lambda: prepare(1)),
    }, ROUNDS, bench.directory)
    for name, what, target in (("one", "one at a time", 1 / 0.7),
                               ("threads", "16 threads, one mailbox", 1 / 2.1),
                               ("users", "16 threads, 16 users", 1 / 2.1),
                               ("processes", "16 processes, one mailbox", None)):
        bench.table.ratio(f"deliver, {what}, to bare", results[name], results["bare"], target)


def part_life(bench):
    """Expunge, undelete and cleanup of 10,000 messages, against bare renames and unlinks with one commit."""
    program, source = os.path.join(BUILD, "tests", "bench-life"), os.path.join(WORK, "tiny-life")
    corpus.make_tiny(source, mailboxes=1, messages=10000)
    fresh, ours, bare = iter(range(1000)), bench.path("life"), bench.path("life-bare")
    inbox = "joe@example.com/m000"

    def prepare():
        number = next(fresh)
        store, files = bench.new_store(f"life{number}"), bench.path(f"life-bare{number}")
        sh(f"{MAILSTORE} -q -s {store} import --format eml {source} joe@example.com; mkdir {files};"
           f" cp -a {store}/mail/example.com/user/joe/m000 {files}/in;"
           f" ln -sfn {store} {ours}; ln -sfn {files} {bare}")

    def command(*words):
        return f"{MAILSTORE} -q -s $(readlink {ours}) {' '.join(words)} {inbox} >{bench.path('told')}"

    def expunge_again():
        sh(f"{command('expunge', '--uid', '1:*')}; {program} move {bare}/in {bare}/out")

    results = interleave({
        "expunge": Case(command("expunge", "--uid", "1:*"), prepare),
        "bare expunge": Case(f"{program} move {bare}/in {bare}/out"),
        "undelete": Case(command("undelete")),
        "bare undelete": Case(f"{program} move {bare}/out {bare}/in"),
        "cleanup": Case(command("cleanup", "--age", "0"), expunge_again),
        "bare cleanup": Case(f"{program} remove {bare}/out"),
    }, ROUNDS, bench.directory)
    for name in ("expunge", "undelete", "cleanup"):
        bench.table.ratio(f"{name} of 10,000 messages, to bare", results[name], results[f"bare {name}"], 3)


# ---- the mount -----------------------------------------------------------------------------------

def part_mount(bench):
    """Walking and reading a mount, against the same files on ext4 and other FUSE filesystems."""
    tree = corpus.make_tree(os.path.join(WORK, "tree"), PEERS)
    store = bench.new_store("tree-store")
    sh(f"{MAILSTORE} -q -s {store} import --format eml {tree} bench@example.com && sync")
    variants = {"mailfs": "-o ro", "mailfs_rw": "", "mailfs_never": "-o ro,verify=never",
                "mailfs_always": "-o ro,verify=always"}
    ratios = mount.measure(bench.directory, MAILFS, store, variants, PEERS, ROUNDS)
    for workload, name, targets in (("find", "stat walk", (2.0, 1.1)), ("cat", "read all", (4.5, 1.15))):
        for variant in variants:
            fresh, warm = ratios[workload][variant]
            limits = targets if variant == "mailfs" else (None, None)
            bench.table.line(f"{name}, {variant} to raw, fresh mount", fresh, limits[0])
            bench.table.line(f"{name}, {variant} to raw, second pass", warm, limits[1])


def part_tools(bench):
    """Backup tools that find nothing new in a mount, against the same on ext4."""
    tree = corpus.make_tree(os.path.join(WORK, "tree"), PEERS)
    store = bench.new_store("tools-store")
    sh(f"{MAILSTORE} -q -s {store} import --format eml {tree} bench@example.com && sync")
    for name, fresh, warm in tools.measure(bench.directory, MAILFS, store, ROUNDS):
        bench.table.line(f"{name} of what it has, to raw, fresh mount", fresh, 2)
        bench.table.line(f"{name} of what it has, to raw, second run", warm, 1.3)


def part_past(bench):
    """Listing a mailbox in a snapshot, against what it was taken of."""
    source = corpus.make_tiny(os.path.join(WORK, "tiny-past"), mailboxes=1, messages=MESSAGES)
    mounts, point = [], bench.path("past")
    mailbox = "joe@example.com/m000"

    def listing(store, options):
        command = f"find {point} -printf '%s %T@ %C@\\n' >/dev/null"
        return Case(command, lambda: mounts.append(mount.Mounted(MAILFS, store, point, "-o", options).__enter__()),
                    lambda: mounts.pop().__exit__())

    cases = {}
    for name in ("same", "changed"):
        store = bench.new_store(f"past-{name}")
        sh(f"{MAILSTORE} -q -s {store} import --format eml --link {source} joe@example.com"
           f" && {MAILSTORE} -q -s {store} snapshot take then && sync")
        cases[name] = listing(store, "ro,snapshot=then")
        cases.setdefault("live", listing(store, "ro"))
    sh(f"{MAILSTORE} -q -s {store} flag {mailbox} '1:*' '+\\Flagged' +Later"
       f" && {MAILSTORE} -q -s {store} expunge --uid=1:{MESSAGES // 2} {mailbox} && sync")
    results = interleave(cases, ROUNDS, bench.directory)
    bench.table.ratio("listing in a snapshot, to the live one", results["same"], results["live"], 1.3)
    bench.table.ratio("the same, all flagged and half expunged since", results["changed"], results["live"], 1.3)


def walk_memory(bench, name, store, target):
    with mount.Mounted(MAILFS, store, bench.path("walk")) as mounted:
        sh(f"find {mounted.path} -printf '%s %T@\\n' >/dev/null; "
           f"find {mounted.path} -type f -print0 | xargs -0 cat >/dev/null")
        bench.table.line(f"mailfs, memory after a walk of {name}", mounted.memory(), target, "MB")


def part_memory(bench):
    """What the daemon holds after everything was looked at and read once."""
    walk_memory(bench, f"{bench.count} messages", bench.store, 64)
    if os.environ.get("BENCH_MILLION") == "1":
        store = bench.new_store("million-store")
        source = corpus.make_tiny(os.path.join(WORK, "tiny"), mailboxes=10, messages=100000)
        sh(f"{MAILSTORE} -q -s {store} import --format eml --link {source} joe@example.com")
        walk_memory(bench, "a million messages", store, 200)
    else:
        bench.table.skip("mailfs, memory after a walk of a million messages", "set BENCH_MILLION=1")


# ---- snapshots -----------------------------------------------------------------------------------

def part_take(bench):
    """Taking a snapshot, and dropping it, of few messages and of many."""
    program, count = os.path.join(BUILD, "tests", "bench-snapshot"), 100
    many = 1000000 if os.environ.get("BENCH_MILLION") == "1" else 100000
    cases = {}
    for name, messages in (("few", 1000), ("many", many)):
        store = bench.new_store(f"take-{name}")
        source = corpus.make_tiny(os.path.join(WORK, f"tiny{messages}"), mailboxes=10,
                                  messages=messages // 10)
        sh(f"{MAILSTORE} -q -s {store} import --format eml --copy {source} joe@example.com && sync")
        cases[name] = Case(f"{program} take {store} {count}")
    results = interleave(cases, ROUNDS, bench.directory)
    bench.table.ratio(f"take and drop a snapshot, of {many} messages to 1000", results["many"],
                      results["few"], 1.15)
    bench.table.line("take and drop a snapshot", results["many"].time / count * 1000, None, "ms")


def part_keep(bench):
    """Delivering and flagging with a snapshot, each message changed for the first time since, and without one."""
    program = os.path.join(BUILD, "tests", "bench-snapshot")
    deliver, count = os.path.join(BUILD, "tests", "bench-deliver"), 1600
    store = bench.new_store("keep")
    sh(f"{deliver} store {store} {count * 8} 16 1")

    def drop():
        sh(f"for name in $(ls {store}/snapshots 2>&-); do {MAILSTORE} -q -s {store} snapshot drop $name; done")

    def take():
        drop()
        sh(f"{MAILSTORE} -q -s {store} snapshot take bench")

    flag, one = f"{program} flag {store} {count}", f"{deliver} store {store} {count} 1 1"
    threads = f"{deliver} store {store} {count} 16 1"
    scatter = f"{program} scatter {store} {count}"
    results = interleave({"flag": Case(flag, drop), "flag with": Case(flag, take),
                          "scatter": Case(scatter, drop), "scatter with": Case(scatter, take),
                          "one": Case(one, drop), "one with": Case(one, take),
                          "threads": Case(threads, drop), "threads with": Case(threads, take)},
                         ROUNDS, bench.directory)
    for name, what in (("flag", "flag"), ("scatter", "flag one of eight"), ("one", "deliver, one at a time"),
                       ("threads", "deliver, 16 threads, one mailbox")):
        bench.table.ratio(f"{what}, with a snapshot to without", results[f"{name} with"],
                          results[name], 1.1)


# ---- backups -------------------------------------------------------------------------------------

def part_backup(bench):
    """A first backup, and one that brings it up to date after one message of a hundred came and another got a flag."""
    store, fresh, link = bench.new_store("backed-up"), iter(range(1000)), bench.path("backup")
    sh(f"{MAILSTORE} -q -s {store} import --format maildir {bench.corpus} joe@example.com && sync")
    inbox, part = "joe@example.com/INBOX", bench.count // 100
    told = {name: bench.path(f"backup-{name}") for name in ("full", "changed", "unchanged")}

    def command(name):
        return (f"/usr/bin/time -q -f %O -o {told[name]}.blocks {MAILSTORE} -s {store} backup --json"
                f" $(readlink {link}) | tail -n 1 >{told[name]} && sync")

    def change():
        first = 1 + next(fresh) * part
        sh(f"{MAILSTORE} -q -s {store} copy {inbox} {first}:{first + part - 1} {inbox} &&"
           f" {MAILSTORE} -q -s {store} flag {inbox} {first}:{first + part - 1} +Bench")

    def bytes_of(name):
        with open(told[name], encoding="utf-8") as result, open(f"{told[name]}.blocks", encoding="ascii") as blocks:
            return json.load(result)["taken_bytes"], int(blocks.read().split()[-1]) * 512

    results = interleave({
        "full": Case(command("full"), lambda: sh(f"ln -sfn {bench.path(f'backup{next(fresh)}')} {link}")),
        "changed": Case(command("changed"), change),
        "unchanged": Case(command("unchanged")),
    }, ROUNDS, bench.directory)
    bench.table.ratio("backup after 1 % change, to the full one", results["changed"], results["full"], 0.2)
    bench.table.ratio("the same after no change", results["unchanged"], results["full"])
    for what, changed, full in zip(("copied", "written to disk"), bytes_of("changed"), bytes_of("full")):
        bench.table.line(f"backup after 1 % change, bytes {what}, to the full one", changed / full, 0.05)
    bench.table.line("backup, peak memory", results["full"].memory, 64, "MB")


# ---- what must not grow --------------------------------------------------------------------------

def part_entries(bench):
    """The cost of an entry with its mailbox."""
    store = bench.new_store("scale-store")
    for user, mailboxes, messages in (("many", 100, 1000), ("one", 1, 100000)):
        source = corpus.make_tiny(os.path.join(WORK, f"tiny-{user}"), mailboxes, messages)
        sh(f"{MAILSTORE} -q -s {store} import --format eml --link {source} {user}@example.com")
    point = bench.path("scale")
    mounts = []

    def remount():
        mounts.append(mount.Mounted(MAILFS, store, point).__enter__())

    def unmount():
        mounts.pop().__exit__()

    users = {user: os.path.join(point, "example.com", "user", user) for user in ("many", "one")}
    for name, command in (("ls -f", "ls -fR {} >/dev/null"), ("find -printf", "find {} -printf %s >/dev/null")):
        cases = {user: Case(command.format(path), remount, unmount) for user, path in users.items()}
        results = interleave(cases, ROUNDS, bench.directory)
        bench.table.ratio(f"{name}: an entry of 100,000 to one of 1,000", results["one"], results["many"], 1.3)


def part_users(bench):
    """The cost of opening with the store."""
    count = int(os.environ.get("BENCH_USERS", 10000))
    cases = {}
    for users in (10, count):
        store = bench.new_store(f"users{users}")
        corpus.make_users(store, users)
        sh(f"{MAILSTORE} -q -s {store} reconstruct -m; cd {store}; for i in {{0..9}}; do"
           f" {MAILSTORE} -q -s . reconstruct u$i@example.com; done")
        cases[str(users)] = Case(f"for i in {{0..9}}; do {MAILSTORE} -s {store} list u$i@example.com; done")
    results = interleave(cases, ROUNDS, bench.directory)
    bench.table.ratio(f"opening a store: {count} users to 10", results[str(count)], results["10"], 1.3)


# ---- who waits -----------------------------------------------------------------------------------

def part_latency(bench):
    """A reader of another mailbox, and of the same one, while jobs run."""
    store, point = bench.store, bench.path("latency")
    sh(f"{MAILSTORE} -q -s {store} import --format maildir {bench.corpus} jane@example.com")
    jobs = {"reconstruct": ["reconstruct", "--force", "-r"], "repair": ["repair", "--full"], "purge": ["purge"]}
    idle = latency.percentile([wait for _ in range(ROUNDS)
                               for wait in latency.while_running(MAILFS, store, point, "jane", None)], 0.99)
    for name, words in jobs.items():
        command = [MAILSTORE, "-q", "-s", store, *words, "joe@example.com"]
        busy = latency.percentile(latency.while_running(MAILFS, store, point, "jane", command), 0.99)
        bench.table.line(f"p99 of a reader beside {name} ({busy:.2f} ms / {idle:.2f} ms)", busy / idle, 2)
        worst = max(latency.while_running(MAILFS, store, point, "joe", command))
        bench.table.line(f"longest wait of a reader of what {name} works on", worst, 50, "ms")


def main(names):
    parts = {name.removeprefix("part_"): function for name, function in globals().items()
             if name.startswith("part_")}
    unknown = [name for name in names if name not in parts]
    if unknown:
        sys.exit(f"no part {unknown}; there are: {', '.join(parts)}")
    bench = Bench()
    try:
        for name in names or parts:
            parts[name](bench)
    finally:
        if os.environ.get("BENCH_KEEP") != "1":
            subprocess.run(["rm", "-rf", bench.directory], check=False)
    sys.exit(1 if bench.table.failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
