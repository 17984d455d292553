"""The program `amygdala-tl`: its exit codes, and how it ends when it is stopped or fails.

Exit codes: 0 for success; 1 for a check that ran and failed; 2 for invalid input, reported as one error message; 70 for a bug,
with its traceback in a file; 130 and 143 for a command stopped by Ctrl-C or SIGTERM.

The commands are imported inside `main`, so that a Ctrl-C during their import gets its message too.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from amygdala_tl.errors import AmygdalaError
from amygdala_tl.show import safe, shortened

FAILED_INPUT, BUG = 2, 70


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see the exit codes above.

    Args:
        arguments: what follows `amygdala-tl`; the arguments of the process if None.

    Raises:
        SystemExit: always, with the exit code; nothing else leaves this function.
    """
    _open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _signals() as received:
        try:
            from amygdala_tl.cli.app import run

            code = run(given)
            if sys.stdout is not None:
                sys.stdout.flush()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
            if isinstance(ended.__context__, BrokenPipeError):  # rich and typer turn it into exit code 1
                code = _unprinted(ended.__context__)
        except BaseException as error:
            code = 0 if received else _failed(error, given)
    # A library may turn the interruption of its import into an exception of its own, and typer turns it into an exit code.
    sys.exit(_stopped(received[0], given) if received else code)


def _failed(error: BaseException, arguments: Sequence[str]) -> int:
    """Report what left a command, and return the exit code."""
    if isinstance(error, AmygdalaError):
        _say(error)
        return FAILED_INPUT
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EIO):
        return _unprinted(error)
    if isinstance(error, OSError) and error.filename is not None:
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
        _say(f"{shortened(path)}: the system refuses it (got: {error.strerror}). Check the path and its permissions.")
        return FAILED_INPUT
    _say(f"this is a bug: {_reported(error, arguments)}")
    return BUG


def _unprinted(error: OSError) -> int:
    """End after standard output refused: its reader has finished, as `head` does, or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if error.errno == errno.EPIPE:
        return 0
    _say(f"standard output cannot be written (got: {error.strerror}). Free some space, or print somewhere else.")
    return FAILED_INPUT


def _reported(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback into a file of the cache folder, and return one line that names it."""
    name = f"{type(error).__name__}: {shortened(error, 200)}".replace("\n", " ")
    try:
        from datetime import UTC, datetime

        from amygdala_tl.files import Kind, atomic_write_text, cache_dir, make_folder

        now = datetime.now(UTC)
        path = make_folder(cache_dir() / "errors", private=True) / f"{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
        report = Kind("an error report", lambda _: False)  # it holds the arguments, and so what somebody wrote
        told = "".join(traceback.format_exception(error))
        atomic_write_text(path, safe(f"amygdala-tl {shortened(' '.join(arguments))}\n{sys.version}\n\n{told}"), report)
    except Exception as cause:  # no cache folder, or none that can be written
        return f"{name}; its traceback could not be kept ({shortened(cause, 200)})"
    return f"{name}; please report it with {path}"


def _stopped(number: int, arguments: Sequence[str]) -> int:
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    signal.signal(number, signal.SIG_DFL)  # a second one ends the program at once
    kept = "finished work is kept, and the same command goes on from there."
    _say("the server is closed." if arguments[:1] == ["serve"] else kept, what=f"stopped by {name}")
    return 128 + number


def _say(message: object, *, what: str = "error") -> None:
    from amygdala_tl.cli.printer import print_error

    print_error(message, what=what)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Turn SIGINT and SIGTERM into a KeyboardInterrupt, and keep the number of the signal that came."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # a shell makes background processes ignore SIGINT
            with suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that Python did not set
                signal.signal(number, handler)


def _open_standard_streams() -> None:
    """Open the null device in place of a closed stream, so that no file of ours takes its number and its output."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)


if __name__ == "__main__":
    main()
