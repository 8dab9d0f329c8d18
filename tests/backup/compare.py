# SPDX-License-Identifier: Apache-2.0
"""compare.py [--seconds] [--no-attributes] STORE COPY: whether a copy has what the store has.

What there must be is read from the store's own files and what is written on them, without a line of the
programs under test: names, kinds, bytes, modes, times, and every attribute that a mount lists. Prints
what differs. Some tools keep times by whole seconds, and some no attributes.
"""
import argparse
import hashlib
import os
import re
import stat
import sys
import urllib.parse

MESSAGE = re.compile(r'[0-9]{10}\.eml')


def attributes_of(path):
    return {name: os.getxattr(path, name, follow_symlinks=False).decode()
            for name in os.listxattr(path, follow_symlinks=False) if name.startswith('user.')}


def expected_attributes(path):
    """What the mount lists for the file or directory of the store at path."""
    told = attributes_of(path)
    state, mailbox = told.get('user.mailfs.state'), told.get('user.mailfs.mailbox')
    expected = {'number': value.split(' ')[1] for name, value in told.items()
                if name in ('user.mailfs.mailbox', 'user.mailfs.user', 'user.mailfs.directory')}
    if state is not None:
        flags = state.split(' ')[5:]
        if flags:
            expected['flags'] = ' '.join(flags)
    if mailbox is not None:
        _, _, uidvalidity, uidnext, _, subscribed, special_use, full_name = mailbox.split(' ')
        name = os.path.basename(path)
        full_name = urllib.parse.unquote(name if full_name == '-' else full_name)
        expected |= {'uidvalidity': uidvalidity, 'uidnext': uidnext}
        expected |= {'subscribed': '1'} if subscribed == '1' else {}
        expected |= {'special_use': special_use} if special_use != '-' else {}
        expected |= {'name': full_name} if full_name != name else {}
    return {'user.mailfs.' + name: value for name, value in expected.items()}


def describe(path, info, attributes, wanted):
    told = {'mode': oct(info.st_mode), 'owner': (info.st_uid, info.st_gid),
            'mtime': info.st_mtime_ns // (10**9 if wanted.seconds else 1)}
    if not wanted.no_attributes:
        told['attributes'] = attributes
    if stat.S_ISREG(info.st_mode):
        with open(path, 'rb') as file:
            told['bytes'] = hashlib.sha256(file.read()).hexdigest()
    return told


def walk(top, wanted, is_part, attributes):
    tree = {}
    pending = ['']
    while pending:
        directory = pending.pop()
        for entry in os.scandir(os.path.join(top, directory)):
            path = os.path.join(directory, entry.name)
            if not is_part(entry):
                continue
            tree[path] = describe(entry.path, entry.stat(follow_symlinks=False), attributes(entry.path), wanted)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
    return tree


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', action='store_true')
    parser.add_argument('--no-attributes', action='store_true')
    parser.add_argument('store')
    parser.add_argument('copy')
    wanted = parser.parse_args()
    store = walk(os.path.join(wanted.store, 'mail'), wanted, lambda entry: not entry.name.startswith('.') and
                 (entry.is_dir() or MESSAGE.fullmatch(entry.name)), expected_attributes)
    copy = walk(wanted.copy, wanted, lambda entry: True, attributes_of)
    if not store:
        sys.exit('the store has nothing')
    differ = False
    for path in sorted(store.keys() | copy.keys()):
        mine, theirs = store.get(path), copy.get(path)
        if mine is None or theirs is None:
            print(f"{path}: {'not in the store' if mine is None else 'not in the copy'}")
        elif mine != theirs:
            print(f'{path}:', *(f'{key} {mine.get(key)!r} is {theirs.get(key)!r} in the copy'
                                for key in mine if mine[key] != theirs.get(key)))
        differ |= mine != theirs
    sys.exit(differ)


main()
