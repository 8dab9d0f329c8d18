# SPDX-License-Identifier: Apache-2.0
"""What may become of a store of which one file is damaged: what is shown of it, what is lost, what is told of it.

Every fact of a live message but its bytes is in two places, so any single damage loses nothing but the bytes of one
message. What is kept for a snapshot is in one place, and lost with it; then the snapshot shows what is now.
"""
import os
from typing import NamedTuple

import faults

JOE = "example.com/user/joe/"
INBOX = f"mail/{JOE}INBOX"
MESSAGE, EXPUNGED, REMOVED = f"{JOE}INBOX/0000000003.eml", f"{JOE}INBOX/0000000002.eml", f"{JOE}Gone/0000000001.eml"


def file(path):
    return lambda store: faults.File(os.path.join(store, path))


def attribute(path, name):
    return lambda store: faults.Attribute(os.path.join(store, path), f"user.mailfs.{name}")


def numbered(directory, mailbox):
    """The file that is called as the number of a mailbox."""
    def find(store):
        state = os.getxattr(os.path.join(store, "mail/example.com/user", mailbox), "user.mailfs.mailbox")
        return faults.File(os.path.join(store, directory, state.split()[1].decode()))
    return find


def removed(path):
    def find(store):
        stamp, = os.listdir(os.path.join(store, "quarantine"))
        return faults.File(os.path.join(store, "quarantine", stamp, path))
    return find


OBJECTS = {
    "mailfs.conf": file("mailfs.conf"),
    "mailboxes.sqlite3": file("mailboxes.sqlite3"),
    "queue.sqlite3": file("queue.sqlite3"),
    "index": file("index/example.com/user/joe.sqlite3"),
    "jobs.lock": file("jobs.lock"),
    "audit.jsonl": file("audit.jsonl"),
    "changes": file("changes"),
    "snapshot": file("snapshots/before"),
    "history": numbered("history", "joe/INBOX"),
    "history/tree": file("history/tree"),
    "missing": numbered("missing", "anna/INBOX"),
    "message": file(f"mail/{MESSAGE}"),
    "expunged": file(f"{INBOX}/.expunged/0000000002.eml"),
    "quarantined": removed(REMOVED),
    "state of message": attribute(f"mail/{MESSAGE}", "state"),
    "state of mailbox": attribute(INBOX, "mailbox"),
    "state of user": attribute(f"mail/{JOE}", "user"),
    "state of domain": attribute("mail/example.com", "directory"),
    "state of store": attribute("mail", "store"),
}


def effects_on(name):
    return faults.BYTES if name.startswith("state of") else faults.EFFECTS


class Outcome(NamedTuple):
    """What is not as it should be."""
    refused: str = ""  # it is said of this file, and nothing is done
    live: dict = {}    # by path: the error that reading gives, "gone", "new" or "other"
    past: dict = {}    # the same of a snapshot; by "": the error that it gives itself
    told: frozenset = frozenset()  # problems that check tells of


# ---- what was lost -------------------------------------------------------------------------------

PLACE = {"directory": "EMEDIUMTYPE", "link": "ELOOP"}  # and what opening gives where it is not looked at before
CUT = {"cut 1/4", "cut 1/2", "cut 3/4"}
TREE_NOW = {f"{JOE}{path}": "gone" for path in ("Archive", "Archive/2023", "Archive/2023/0000000001.eml")} | \
    {f"{JOE}{path}": "new" for path in ("Kept", "Kept/2023", "Kept/2023/0000000001.eml")}
REMOVED_NOW = {f"{JOE}Gone": "gone", REMOVED: "gone"}


def lost_message(path, effect):
    if effect == "delete" or effect in PLACE:
        return {path: "gone"}
    return {path: "EACCES" if effect == "forbidden" else "EIO"}


def lost_expunged(effect, column):
    """Its row tells of it, until that is compared with the file."""
    if column in ("repair", "reconstruct"):
        return lost_message(EXPUNGED, effect)
    by_row = PLACE | {"delete": "ESTALE"}
    return {EXPUNGED: by_row[effect]} if effect in by_row else lost_message(EXPUNGED, effect)


def lost_history(effect, by_effect):
    """Lines that are whole still count."""
    errors = PLACE | {"forbidden": "EACCES"}
    return {"": errors[effect]} if effect in errors else by_effect.get(effect, {})


def past(name, effect, column):
    if name == "message":
        return lost_message(MESSAGE, effect)
    if name == "expunged":
        return lost_expunged(effect, column)
    if name == "quarantined":  # what cannot be read has no state that tells when it came
        return lost_message(REMOVED, "delete" if effect == "forbidden" else effect)
    if name == "snapshot":
        return {"": "ENOENT" if effect == "delete" or effect in PLACE else "EBADMSG"}
    if name == "history":
        flags_now = {f"{JOE}INBOX/0000000001.eml": "other"}
        return lost_history(effect, dict.fromkeys(("delete", "cut 1/4", "cut 1/2", "zero page", "rubbish"), flags_now))
    if name == "history/tree":
        return lost_history(effect, dict.fromkeys(("delete", "cut 1/4", "zero page", "rubbish"), TREE_NOW | REMOVED_NOW)
                            | {"cut 1/2": REMOVED_NOW, "cut 3/4": REMOVED_NOW, "flip bits": TREE_NOW})
    return {}


# ---- what is told --------------------------------------------------------------------------------

def told_of_bytes(effect, gone, zeros):
    if effect == "delete" or effect in PLACE:
        return gone
    if effect == "forbidden":
        return {"io-error", "permission"}
    return {"truncated"} if effect in CUT else {zeros} if effect == "zero page" else {"hash-mismatch"}


def told_of_database(effect, when_gone):
    return when_gone if effect == "delete" else {"permission"} if effect == "forbidden" else {"bad-index"}


# What is left of these makes sense, or nothing is, or nobody asks.
UNSEEN = {"history": CUT | {"delete"}, "history/tree": CUT | {"delete"},
          "missing": faults.BYTES.keys(), "snapshot": {"delete"},
          "state of user": {"cut 1/2", "cut 3/4"}, "state of store": {"cut 3/4"}}


def told_of(name, effect):
    if name == "mailboxes.sqlite3":
        return told_of_database(effect, {"missing-index"})
    if name == "queue.sqlite3":
        return told_of_database(effect, set())
    if name == "index":
        more = {"zero page": {"missing-row"}, "forbidden": {"bad-index"}}.get(effect, set())
        return told_of_database(effect, {"missing-index"}) | more
    if name in ("jobs.lock", "audit.jsonl", "changes"):
        return {"stray"} if effect in PLACE else {"permission"} if effect == "forbidden" else set()
    if name == "message":
        stray = {"stray"} if effect in PLACE else set()
        return told_of_bytes(effect, {"missing-file"} | stray, "zero-run")
    if name == "expunged":
        return told_of_bytes(effect, {"changed"} | ({"stray"} if effect == "link" else set()), "hash-mismatch")
    if name == "quarantined":
        bytes_changed = effect != "delete" and effect in faults.BYTES
        return {"hash-mismatch"} if bytes_changed else {"io-error"} if effect == "forbidden" else set()
    if name == "mailfs.conf" or effect in UNSEEN.get(name, ()):
        return set()
    if name in ("snapshot", "history", "history/tree"):
        return {"stray"} if effect in PLACE else {"bad-snapshot"}
    if name == "state of message":
        return {"changed"} if effect == "delete" else {"changed", "state-mismatch"}
    return {"state-mismatch"}


def told(name, effect, column):
    """After a repair only what it cannot put right: bytes that are gone, what somebody else put there, what
    is kept for snapshots, and what it may not read."""
    told_at_first = told_of(name, effect)
    if column == "check" or effect == "forbidden" and name != "changes":
        return told_at_first
    if name in ("message", "expunged"):
        return told_at_first - {"missing-file", "changed"}
    if name in ("jobs.lock", "audit.jsonl", "snapshot", "history", "history/tree", "missing", "quarantined"):
        return told_at_first
    return told_at_first if (name, effect) == ("changes", "directory") else set()


# ---- what is refused -----------------------------------------------------------------------------

def refused(name, effect, column):
    if column == "forensic":
        return ""
    if name == "mailfs.conf" and effect not in ("cut 3/4", "flip bits"):  # what these leave makes sense
        return name
    if name == "mailboxes.sqlite3" and effect == "forbidden":
        return name
    if column == "reconstruct" and name == "index" and effect == "forbidden":
        return "joe.sqlite3"
    if column == "reconstruct" and name == "history" and (effect == "forbidden" or effect in PLACE):
        return "history/"
    return ""


def expected(name, effect, column):
    if refused(name, effect, column):
        return Outcome(refused=refused(name, effect, column))
    if column == "check":
        return Outcome(told=frozenset(told(name, effect, column)))
    live = lost_message(MESSAGE, effect) if name == "message" else {}
    told_then = told(name, effect, column) if column in ("repair", "reconstruct") else ()
    return Outcome("", live, past(name, effect, column), frozenset(told_then))
