# SPDX-License-Identifier: Apache-2.0
"""terminal.py - a program on a pseudo terminal, and what somebody in front of it sees.

    with Terminal(['mailstore', 'top'], columns=80, rows=24) as terminal:
        terminal.until(lambda lines: 'JOBS' in lines[3])
        terminal.resize(40, 10)
        terminal.type('q')
        code = terminal.wait()
"""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pyte

PATIENCE_S = 60  # a machine may be busy; what is right is seen at once


class Terminal:
    def __init__(self, command, columns, rows, **environment):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.bytes = b''
        self.near, far = pty.openpty()
        self.set_size(columns, rows)
        self.attributes = termios.tcgetattr(far)
        self.far = far
        self.process = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                        env={**os.environ, 'TERM': 'xterm', **environment})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.near)
        os.close(self.far)

    def set_size(self, columns, rows):
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        self.set_size(columns, rows)

    def read(self, seconds):
        if select.select([self.near], [], [], seconds)[0]:
            more = os.read(self.near, 65536)
            self.bytes += more
            self.stream.feed(more)

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def until(self, seen):
        end = time.monotonic() + PATIENCE_S
        while not seen(self.lines):
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError('not seen:\n' + '\n'.join(self.lines))
            self.read(0.05)
        return self.lines

    def type(self, text):
        os.write(self.near, text.encode())

    def wait(self):
        """The exit status, when all that was printed is on the screen."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.02)
        while select.select([self.near], [], [], 0)[0]:
            self.read(0)
        return self.process.returncode

    @property
    def restored(self):
        """Whether the terminal is as it was found: its settings, its screen and its cursor."""
        return (termios.tcgetattr(self.far) == self.attributes and
                self.bytes.rfind(b'\033[?1049l') > self.bytes.rfind(b'\033[?1049h') and
                self.bytes.rfind(b'\033[?25h') > self.bytes.rfind(b'\033[?25l'))
