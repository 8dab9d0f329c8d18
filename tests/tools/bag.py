# SPDX-License-Identifier: Apache-2.0
"""Reads a bag as RFC 8493 has it, knowing nothing of mailfs: bag.py DIR prints "valid", or why it is not."""
import hashlib
import os
import re
import sys


def decode(path):
    return re.sub(r'%(0A|0D|25)', lambda match: chr(int(match[1], 16)), path, flags=re.I)


def read_manifest(bag, name):
    entries = {}
    with open(os.path.join(bag, name), encoding='utf-8', newline='\n') as lines:
        for line in lines:
            digest, path = re.fullmatch(r'([0-9a-fA-F]{64})[ \t]+(.+)\n', line).groups()
            path = decode(path)
            assert path not in entries and not os.path.isabs(path) and '..' not in path.split('/')
            entries[path] = digest.lower()
    return entries


def digest(path):
    assert os.path.isfile(path) and not os.path.islink(path), path
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def files(bag, top):
    return {os.path.relpath(os.path.join(directory, name), bag)
            for directory, _, names in os.walk(os.path.join(bag, top)) for name in names}


def check(bag):
    with open(os.path.join(bag, 'bagit.txt'), 'rb') as file:
        assert file.read() == b'BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n', 'bagit.txt'
    payload = read_manifest(bag, 'manifest-sha256.txt')
    assert set(payload) == files(bag, 'data'), 'payload'
    tags = read_manifest(bag, 'tagmanifest-sha256.txt')
    others = files(bag, '.') - files(bag, 'data')
    assert set(tags) == others - {'tagmanifest-sha256.txt'}, 'tag files'
    for path, expected in (payload | tags).items():
        assert digest(os.path.join(bag, path)) == expected, path
    with open(os.path.join(bag, 'bag-info.txt'), encoding='utf-8') as file:
        info = dict(line.rstrip('\n').split(': ', 1) for line in file)
    size = sum(os.stat(os.path.join(bag, path)).st_size for path in payload)
    assert info['Payload-Oxum'] == f'{size}.{len(payload)}', 'Payload-Oxum'
    assert re.fullmatch(r'\d{4}-\d\d-\d\d', info['Bagging-Date']), 'Bagging-Date'


check(sys.argv[1])
print('valid')
