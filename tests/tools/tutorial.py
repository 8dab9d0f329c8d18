# SPDX-License-Identifier: Apache-2.0
"""tutorial.py [--show] FILE.md: runs what a tutorial tells people to type, and compares what it shows.

What stands in a block of ```console is typed into one shell, block after block: lines that begin with
"$ " are commands (those that begin with "> " go on with one), the others what they print. In that, "…"
stands for any text in a line, and a line that is "…" alone for any lines. A command that shows nothing
must go well; its output is not compared. A block is left out when it uses a program of OPTIONAL that is
not installed.
"""
import re
import shutil
import subprocess
import sys

OPTIONAL = ('rsync', 'rdiff-backup', 'borg', 'restic', 'jq')


def read_blocks(path):
    """Yields a list of (line number, command, expected lines) for each block."""
    block = None
    for number, line in enumerate(open(path, encoding='utf-8').read().split('\n'), 1):
        if block is None:
            if line == '```console':
                block = []
        elif line == '```':
            yield block
            block = None
        elif line.startswith('$ '):
            block.append((number, [line[2:]], []))
        elif line.startswith('> '):
            block[-1][1].append(line[2:])
        else:
            block[-1][2].append(line)


def matches(expected, output):
    pattern = []
    for line in expected:
        pattern.append(r'(?:.*\n)*?' if line == '…' else
                       '.*'.join(re.escape(part) for part in line.split('…')) + r'\n')
    return re.fullmatch(''.join(pattern), output) is not None


class Shell:
    MARK = '--tutorial--'

    def __init__(self):
        self.process = subprocess.Popen(['bash', '--norc'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors='replace')

    def run(self, command):
        self.process.stdin.write(f'{command}\n\nprintf "%s%d\\n" {self.MARK} $?\n')
        self.process.stdin.flush()
        output = ''
        for line in self.process.stdout:
            text, mark, status = line.rpartition(self.MARK)
            if mark:
                return output + text, int(status)
            output += line
        raise SystemExit(f'the shell ended at: {command}')


def main():
    show = sys.argv[1] == '--show'
    path = sys.argv[-1]
    shell, failures, commands = Shell(), 0, 0
    for block in read_blocks(path):
        text = '\n'.join('\n'.join(command) for _, command, _ in block)
        missing = [name for name in OPTIONAL if re.search(rf'(^|\W){name}\s', text) and not shutil.which(name)]
        if missing:
            print(f'{path}:{block[0][0]}: left out: no {missing[0]}')
            continue
        for number, command, expected in block:
            output, status = shell.run('\n'.join(command))
            commands += 1
            if show:
                print('$ ' + '\n> '.join(command), output, f'[{status}]', sep='\n')
            elif expected and not matches(expected, output) or not expected and status != 0:
                failures += 1
                print(f'{path}:{number}: {command[0]}: exit status {status}, printed:\n{output}')
    print(f'{path}: {commands} commands, {failures} failures')
    sys.exit(failures > 0 or commands == 0)


main()
