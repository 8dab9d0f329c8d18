# SPDX-License-Identifier: Apache-2.0
"""The mail that the tests lose power and processes over, and the places it is imported from."""
import mailbox
import os

DATE = 1700000000


def message(number):
    """Each is different and each another kind: tiny, multipart, 8-bit, large, without an end of line."""
    head = (f"From: Anna <anna@example.org>\nTo: joe@example.com\nSubject: message {number}\n"
            f"Message-ID: <{number}@example.org>\nDate: Mon, 4 Mar 2024 10:{number % 60:02}:00 +0100\n")
    kind = number % 5
    if kind == 0:
        return (head + "\nshort\n").encode()
    if kind == 1:
        return (head + 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\none\n'
                "--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
                "AAEC\n--b--\n").encode()
    if kind == 2:
        return (head + "Content-Type: text/plain; charset=utf-8\n\nGrüße\n").encode()
    if kind == 3:
        return (head + "\n" + "sixty-four bytes of text, again and again, to be a large message\n"
                * 4000).encode()
    return (head + "\nno newline at the end").encode()


def make_eml(path, numbers):
    os.makedirs(path)
    for number in numbers:
        name = os.path.join(path, f"{number}.eml")
        with open(name, "wb") as file:
            file.write(message(number))
        os.utime(name, (DATE + number,) * 2)


def make_maildir(path, numbers):
    """Half of them in a folder of its own, with all kinds of flags."""
    for folder in ("", ".Work"):
        for leaf in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(path, folder, leaf))
    for number in numbers:
        name = f"{DATE + number}.{number}.host:2,{['', 'S', 'FS', 'RS'][number % 4]}"
        name = os.path.join(path, ["", ".Work"][number % 2], "cur", name)
        with open(name, "wb") as file:
            file.write(message(number))
        os.utime(name, (DATE + number,) * 2)


def make_mbox(path, numbers):
    box = mailbox.mbox(path)
    for number in numbers:
        item = mailbox.mboxMessage(message(number))
        item.set_from("anna@example.org", (2024, 3, 4, 10, number, 0, 0, 64, 0))
        item.set_flags("RO" if number % 2 else "")
        box.add(item)
    box.close()
