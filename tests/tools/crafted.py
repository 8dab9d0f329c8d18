#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""crafted.py KIND PATH - makes a database of mailfs at PATH one that somebody has made to do harm.

Without arguments the kinds are listed. They loop, claim to be huge, or bring SQL of their own."""
import os
import sqlite3
import struct
import sys

PAGE = 8192  # of all our databases
HEADER = 100  # of the file, before the first page's own
KINDS = {}


def kind(function):
    KINDS[function.__name__.replace("_", "-")] = function
    return function


def number(bytes_, at, size):
    return int.from_bytes(bytes_[at:at + size], "big")


def varint(value):
    out = [value & 127]
    while value > 127:
        value >>= 7
        out.append(value & 127 | 128)
    return bytes(reversed(out))


def load(path):
    with open(path, "rb") as file:
        return bytearray(file.read())


def save(path, image):
    image[28:32] = struct.pack(">I", len(image) // PAGE)
    with open(path, "r+b") as file:
        file.write(image)
        file.truncate(len(image))


def root_of(path, table):
    with sqlite3.connect(path) as database:
        row = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        return row[0] if row else None


def main_table(path):
    """The largest of the tables that this kind of database has."""
    for table in ("message", "node", "job"):
        root = root_of(path, table)
        if root is not None:
            return table, root
    raise SystemExit(f"{path}: no database of mailfs")


def interior(children, keys):
    """An interior page of a table, with all cells that fit."""
    page = bytearray(PAGE)
    cells, end = [], PAGE
    for child, key in zip(children, keys):
        cell = struct.pack(">I", child) + varint(key)
        if end - len(cell) < 12 + 2 * (len(cells) + 1) + HEADER:
            break
        end -= len(cell)
        page[end:end + len(cell)] = cell
        cells.append(end)
    page[0] = 5
    page[3:5] = struct.pack(">H", len(cells))
    page[5:7] = struct.pack(">H", end)
    page[8:12] = struct.pack(">I", children[-1])
    page[12:12 + 2 * len(cells)] = struct.pack(f">{len(cells)}H", *cells)
    return page


def tower(image, root, leaf, depth, keys):
    """Pages above a leaf, of which each has the next below it a thousand times."""
    following = len(image) // PAGE + 1
    image[(root - 1) * PAGE:root * PAGE] = interior([following] * 1000, keys)
    for _ in range(depth - 2):
        following += 1
        image += interior([following] * 1000, keys)
    image += interior([leaf] * 1000, keys)


@kind
def rows_without_end(path):
    """A leaf that is shown a thousand to the power of twelve times; none of its rows is one to be shown."""
    table, root = main_table(path)
    if table == "message":
        with sqlite3.connect(path) as database:
            database.execute("UPDATE message SET expunged = 1")
    image = load(path)
    leaf = len(image) // PAGE + 1
    image += image[(root - 1) * PAGE:root * PAGE]
    tower(image, root, leaf, 12, [1 << 40] * 1000 if table == "message" else [1] * 1000)
    save(path, image)


@kind
def schema_without_end(path):
    image = load(path)
    leaf = len(image) // PAGE + 1
    # The first page's rows, on a page that has no header before them.
    page = bytearray(image[HEADER:HEADER + 8]) + bytes(PAGE - 8)
    cells = [number(image, HEADER + 8 + 2 * i, 2) for i in range(number(image, HEADER + 3, 2))]
    page[8:8 + 2 * len(cells)] = struct.pack(f">{len(cells)}H", *cells)
    page[min(cells):] = image[min(cells):PAGE]
    image += page
    middle = len(image) // PAGE + 1
    top = interior([middle] * 1000, [1] * 1000)
    cells = number(top, 3, 2)
    image[HEADER:HEADER + 12 + 2 * cells] = top[:12 + 2 * cells]
    end = number(top, 5, 2)
    image[end:PAGE] = top[end:]
    for _ in range(10):
        middle += 1
        image += interior([middle] * 1000, [1] * 1000)
    image += interior([leaf] * 1000, [1] * 1000)
    save(path, image)


@kind
def page_in_itself(path):
    root = main_table(path)[1]
    image = load(path)
    image[(root - 1) * PAGE:root * PAGE] = interior([root] * 1000, range(1, 1001))
    save(path, image)


@kind
def endless_text(path):
    """A row of 2 GB, whose overflow pages go in a ring."""
    table = main_table(path)[0]
    column = {"message": "keywords", "node": "full_name", "job": "log"}[table]
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE {table} SET {column} = ?", ("x" * 20000,))
    image = load(path)
    root = main_table(path)[1]
    page = (root - 1) * PAGE
    if image[page] == 13:
        for i in range(number(image, page + 3, 2)):
            cell = page + number(image, page + 8 + 2 * i, 2)
            # The payload's length, in three bytes of a varint; its rowid follows.
            if image[cell] & 128 and image[cell + 1] & 128:
                image[cell:cell + 3] = bytes([0xFF, 0xFF, 0x7F])
    for at in range(0, len(image), PAGE):
        following = number(image, at, 4)
        if at > page and following == at // PAGE + 2:
            image[at:at + 4] = struct.pack(">I", at // PAGE + 1)
    save(path, image)


@kind
def free_pages_in_a_ring(path):
    image = load(path)
    trunk = len(image) // PAGE + 1
    image += struct.pack(">II", trunk, 2000) + struct.pack(">I", trunk) * 2000 + bytes(PAGE - 8008)
    image[32:40] = struct.pack(">II", trunk, 0x7FFFFFFF)
    save(path, image)


@kind
def huge_by_its_header(path):
    image = load(path)
    save(path, image)
    with open(path, "r+b") as file:
        file.seek(28)
        file.write(struct.pack(">I", 0xFFFFFFFE))


@kind
def huge_and_empty(path):
    """As large as the filesystem lets a file be, and nearly all of it a hole."""
    for size in (1 << 43, 1 << 40, 1 << 36):
        try:
            os.truncate(path, size)
            return
        except OSError:
            pass


@kind
def huge_log(path):
    with open(path + "-wal", "wb") as log:
        log.write(struct.pack(">IIIIII", 0x377F0683, 3007000, PAGE, 0, 1, 2) + bytes(8))
        log.truncate(1 << 40)


@kind
def huge_journal(path):
    pages = os.path.getsize(path) // PAGE
    with open(path + "-journal", "wb") as journal:
        journal.write(bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0xFFFFFFFF, 0, pages, 512, PAGE))
        journal.truncate(1 << 40)


def edit_schema(path, *statements):
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)


@kind
def trigger(path):
    table = main_table(path)[0]
    edit_schema(path, f"CREATE TRIGGER t AFTER UPDATE ON {table} BEGIN DELETE FROM {table}; END",
                f"CREATE TRIGGER u BEFORE INSERT ON {table} BEGIN SELECT writefile('/tmp/x', 'y'); END")


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@kind
def view(path):
    """Its main table is a view that has no end."""
    table = main_table(path)[0]
    with sqlite3.connect(path) as database:
        names = [row[1] for row in database.execute(f"PRAGMA table_info ({table})")]
    columns = ", ".join(f"i AS {name}" for name in names)
    edit_schema(path, f"ALTER TABLE {table} RENAME TO hidden", f"CREATE VIEW {table} AS {ENDLESS} SELECT {columns} FROM n")


@kind
def check_and_generated(path):
    table = main_table(path)[0]
    costly = "length (replace (hex (zeroblob (100000000)), '00', 'x'))"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA writable_schema = ON")
        sql = database.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        body, end = sql.rsplit(")", 1)
        sql = f"{body}, costly INTEGER AS ({costly}) VIRTUAL, CHECK ({costly} > 0)){end}"
        database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, table))


@kind
def index_by_expression(path):
    table = main_table(path)[0]
    column = {"message": "size", "node": "name", "job": "state"}[table]
    edit_schema(path, f"CREATE INDEX costly ON {table} (abs (random () % 1 + length ({column})) + 1) WHERE {column} > 0"
                .replace("abs (random () % 1 + ", "abs (0 + "))


@kind
def many_tables(path):
    edit_schema(path, *(f"CREATE TABLE t{i} (a, b, c)" for i in range(3000)))


@kind
def escapes(path):
    table = main_table(path)[0]
    column = {"message": "keywords", "node": "name", "job": "action"}[table]
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE {table} SET {column} = char (27) || '[2J' || char (7, 10, 13) || rowid")


@kind
def unpermitted_numbers(path):
    table = main_table(path)[0]
    with sqlite3.connect(path) as database:
        names = [row[1] for row in database.execute(f"PRAGMA table_info ({table})") if row[2] == "INTEGER" and not row[5]]
        for name in names:
            database.execute(f"UPDATE {table} SET {name} = -9223372036854775808")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("\n".join(KINDS))
    else:
        KINDS[sys.argv[1]](sys.argv[2])
