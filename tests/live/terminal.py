"""A real terminal for tests: a program behind a pty, and what a person would see, by pyte.

Programs are forks of a process that has imported `watch` once: the imports take seconds, and `watch` draws within a tenth of one.
One test of `watch` starts it as its users do.
"""

import fcntl
import multiprocessing
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from contextlib import contextmanager

import pyte

from amygdala_tl.cli.main import main

LIMIT = 30.0
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["amygdala_tl.cli.app", "amygdala_tl.live.screen", "tests.live.terminal"])


class Terminal:
    """A program on a terminal of `columns` x `rows`.

    Attributes:
        process: the program, a `multiprocessing.Process`.
        raw: all bytes that it wrote.
    """

    def __init__(self, process, master, columns, rows):
        self.process = process
        self.raw = b""
        self._master = master
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def read(self, seconds=0.2):
        """Take what is written within so many seconds; False once the program has closed the terminal."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # how Linux says that nobody writes any more
                    return False
                if not data:
                    return False
                self.raw += data
                self._stream.feed(data)
        return True

    @property
    def lines(self):
        """The screen, a string a row."""
        return list(self._screen.display)

    @property
    def text(self):
        """The screen as one string."""
        return "\n".join(line.rstrip() for line in self.lines)

    def style(self, text):
        """(foreground, background, bold) of the first character of the first place where `text` stands."""
        for number, line in enumerate(self.lines):
            if text in line:
                character = self._screen.buffer[number][line.index(text)]
                return character.fg, character.bg, character.bold
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def until(self, *wanted, gone=(), limit=LIMIT):
        """Read until all of `wanted` stand on the screen and none of `gone`."""
        return self.until_that(
            lambda: all(word in self.text for word in wanted) and not any(word in self.text for word in gone),
            f"waited for {wanted}, without {gone}", limit,
        )  # fmt: skip

    def until_that(self, condition, otherwise, limit=LIMIT):
        """Read until `condition()` holds on a screen that is drawn to its end, not in the middle of a frame."""
        deadline = time.monotonic() + limit
        while not (condition() and self._drawn() and condition()):
            alive = self.read(0.1)
            assert alive, f"the program has ended:\n{self.text}"
            assert time.monotonic() < deadline, f"{otherwise}:\n{self.text}"
        return self.text

    def _drawn(self):
        """Read what is on its way; whether a pause followed it (a program that has ended has drawn its last)."""
        for _ in range(40):
            before = len(self.raw)
            if not self.read(0.05) or len(self.raw) == before:
                return True
        return False

    def line_with(self, text):
        """The first row in which `text` stands, empty if none."""
        return next((line for line in self.lines if text in line), "")

    def press(self, keys):
        """Type."""
        os.write(self._master, keys.encode())

    def resize(self, columns, rows):
        """Change the size, as a window does."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.process.pid, signal.SIGWINCH)

    def ended(self, limit=LIMIT):
        """The exit code, once the program has ended by itself."""
        deadline = time.monotonic() + limit
        while self.process.exitcode is None:
            self.read(0.1)
            assert time.monotonic() < deadline, f"the program does not end:\n{self.text}"
        return self.process.exitcode


@contextmanager
def terminal(*arguments, columns=80, rows=24, **environment):
    """Run `amygdala-tl` with `arguments` on a terminal of its own; killed when the block ends."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    environment = clean | {"TERM": "xterm-256color"} | environment
    opened, opens = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=on_a_terminal, args=(os.ttyname(slave), opens, arguments, environment), daemon=True)
    process.start()
    assert opened.recv()
    os.close(slave)
    try:
        yield Terminal(process, master, columns, rows)
    finally:
        process.kill()
        process.join()
        os.close(master)


def on_a_terminal(device, opens, arguments, environment):
    """Be the program with these arguments and this environment, on a terminal that is its own; `opens` hears when it has it."""
    os.setsid()
    terminal = os.open(device, os.O_RDWR)  # which becomes the terminal of a process without one
    opens.send(True)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        os.dup2(terminal, number)
        stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(environment)
    main(arguments)
