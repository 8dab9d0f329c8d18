# SPDX-License-Identifier: Apache-2.0
"""The mail that is measured. All of it is made once and kept."""
import os
import random
import subprocess
import sys

DATE = 1700000000


def finish(path, make):
    """Makes a folder under another name, so that half a folder is never taken for a whole one."""
    if not os.path.exists(path):
        print(f"making {path}", file=sys.stderr, flush=True)
        make(path + ".new")
        os.rename(path + ".new", path)
    return path


def count(maildir):
    return sum(len(os.listdir(os.path.join(maildir, leaf))) for leaf in ("cur", "new"))


def write(path, text, date):
    with open(path, "wb") as file:
        file.write(text)
    os.utime(path, (date, date))


def plain(number, size):
    head = (f"From: u{number % 97}@example.org\nTo: joe@example.com\nSubject: message {number}\n"
            f"Message-ID: <{number}@example.org>\nDate: Mon, 4 Mar 2024 10:00:00 +0100\n\n")
    return (head + "a line of text that is not so long\n" * max(0, (size - len(head)) // 35)).encode()


def make_realistic(path, messages, peers):
    """A Maildir as mail is: by the generator beside the peers, else with sizes like those."""
    generator = os.path.join(peers, "gencorpus.py")

    def generate(new):
        subprocess.run([sys.executable, generator, "--count", str(messages), "--out", new],
                       check=True, stdout=subprocess.DEVNULL)

    def imitate(new):
        chance = random.Random(1)
        for leaf in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(new, leaf))
        for number in range(messages):
            size = min(int(chance.lognormvariate(8.67, 1.6)), 7 << 20)
            name = f"cur/{DATE + number}.{number}.host:2,{['', 'S', 'FS', 'RS'][number % 4]}"
            write(os.path.join(new, name), plain(number, size), DATE + number)

    return finish(path, generate if os.path.exists(generator) else imitate)


def make_tree(path, peers):
    """20,000 messages in 20 folders, as the FUSE peers' measurements use it."""
    generator = os.path.join(peers, "fuse", "mktree.py")

    def generate(new):
        subprocess.run([sys.executable, generator, new], check=True, stdout=subprocess.DEVNULL)

    def imitate(new):
        chance = random.Random(1)
        for folder in range(20):
            os.makedirs(os.path.join(new, f"d{folder:02}"))
            for number in range(1000):
                size = min(int(chance.lognormvariate(8.7, 1.5)), 5 << 20)
                write(os.path.join(new, f"d{folder:02}", f"{number + 1:09}.eml"),
                      plain(folder * 1000 + number, size), DATE + number)

    return finish(path, generate if os.path.exists(generator) else imitate)


def make_tiny(path, mailboxes, messages):
    """Folders of the smallest messages."""
    def make(new):
        for folder in range(mailboxes):
            os.makedirs(os.path.join(new, f"m{folder:03}"))
            for number in range(messages):
                write(os.path.join(new, f"m{folder:03}", f"{number + 1:09}.eml"),
                      plain(folder * messages + number, 0), DATE + number)

    return finish(path, make)


def make_users(store, users):
    """Users with one message each, put into an empty store by hand (docs/format.md)."""
    numbers = iter(range(1, 4 * users + 4))
    mail = os.path.join(store, "mail")

    def directory(path, attribute, line):
        os.mkdir(path, 0o750)
        os.setxattr(path, f"user.mailfs.{attribute}", f"1 {next(numbers)}{line}".encode())

    domain = os.path.join(mail, "example.com")
    directory(domain, "directory", "")
    directory(os.path.join(domain, "user"), "directory", "")
    for user in range(users):
        home = os.path.join(domain, "user", f"u{user}")
        directory(home, "user", " on")
        directory(os.path.join(home, "INBOX"), "mailbox", f" {DATE} 2 1 1 - -")
        message = os.path.join(home, "INBOX", "0000000001.eml")
        write(message, plain(user, 0), DATE)
        os.chmod(message, 0o640)
        os.setxattr(message, "user.mailfs.state", b"1 1 1 0 \\Seen")
    os.setxattr(mail, "user.mailfs.store", f"1 {next(numbers)} 1 {DATE}".encode())
