"""Real processes that are cheap to start and to kill: forks of one that has imported everything.

A command takes 5 s to import torch and 0.1 s to do its work on a tiny model. A fork skips the first.
"""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

_CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link", "chaos.put"}
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (minus the signal that killed it), what it printed, and what it took."""

    code: int
    out: str
    err: str
    seconds: float
    changes: int
    megabytes: float

    @property
    def graceful(self) -> bool:
        """True if it reported whatever was wrong as one message."""
        return self.code in (0, 2) and "Traceback" not in self.err


@dataclass
class Started:
    """A process that runs, and the files that it prints to."""

    pid: int
    since: float
    printed: dict[str, int]

    def kill(self, how: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, how)

    def wait(self, limit: float = 300.0) -> Ended:
        """Wait for its end; a process that is still there after `limit` seconds is killed, and counts as hung."""
        before = self.since + limit
        while (ended := os.wait4(self.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > before:
                self.kill(signal.SIGKILL)
                ended = os.wait4(self.pid, 0)
                break
            time.sleep(0.002)
        said = {name: _read(file) for name, file in self.printed.items()}
        seconds, code = time.monotonic() - self.since, os.waitstatus_to_exitcode(ended[1])
        changes = int(said["changes"] or 0)
        return Ended(code, said["out"], said["err"], seconds, changes, ended[2].ru_maxrss / 1024)


def start(
    action: Callable[[], object],
    folder: Path,
    *,
    change: int = 0,
    by: signal.Signals = signal.SIGKILL,
    uid: int | None = None,
    largest_file: int | None = None,
    out: str | None = None,
) -> Started:
    """Fork a process that does `action` in `folder`.

    Args:
        action: what it does; `SystemExit` gives its exit code.
        folder: its current folder.
        change: it sends itself the signal `by` just before this change to files, counted from 1; never if 0. This is exact:
            between a file's opening and its renaming lie microseconds, which a random time hardly ever meets.
        by: that signal.
        uid: user that it runs as.
        largest_file: bytes that it may write to a file, after which the system refuses as it does on a full disk.
        out: device that it prints to, for example `/dev/full`.
    """
    since = time.monotonic()
    sys.stdout.flush()
    printed = {name: os.memfd_create(name) for name in ("out", "err", "changes")}
    pid = os.fork()
    if pid:
        return Started(pid, since, printed)
    code = 99
    try:
        os.dup2(printed["out"] if out is None else os.open(out, os.O_WRONLY), 1)
        os.dup2(printed["err"], 2)
        changes = printed["changes"]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        if largest_file is not None:
            sys.dont_write_bytecode = True  # a module cut in two would fail every later process
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        code = _do(action, folder, change, by, changes)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read(file: int) -> str:
    with os.fdopen(file, "rb") as stream:
        stream.seek(0)
        return stream.read().decode(errors="replace")


def _do(action: Callable[[], object], folder: Path, change: int, by: signal.Signals, changes: int) -> int:
    made, inside = 0, str(folder)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal made
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if not (writes or event in _CHANGES) or isinstance(arguments[0], int):
            return
        if os.path.abspath(os.fsdecode(arguments[0])).startswith(inside):  # type: ignore[arg-type]
            made += 1
            if made == change:
                os.kill(os.getpid(), by)

    # After a fork PyTorch makes its threads anew when they are set, and fails if two threads do so at once.
    torch.set_num_threads(torch.get_num_threads())
    sys.addaudithook(watch)
    code: object = 0
    try:
        action()
    except SystemExit as ended:
        code = ended.code
    os.pwrite(changes, str(made).encode(), 0)
    return code if isinstance(code, int) else int(code is not None)


def command(arguments: Sequence[str]) -> Callable[[], object]:
    """What `amygdala-tl ARGUMENTS` does."""

    def run() -> None:
        from amygdala_tl.cli.main import main

        main(list(arguments))

    return run
