"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.one TARGET FOLDER SECONDS [libFuzzer's options]`.

A failure does not end the run: its input is kept once for each place in the code that raised, and the fuzzer goes on.
"""

import hashlib
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

import atheris

SLOW = 2.0  # seconds for one input of a few kilobytes
LONGEST_MESSAGE = 2500  # characters: one text of 2,000 (`show.LONGEST`), and words of ours


class Failures:
    """Inputs that a target failed at, in a folder: the input, and beside it what happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()

    def keep(self, kind: str, data: bytes, what: str) -> None:
        """Keep an input, unless one of its kind has been kept."""
        name = hashlib.sha256(kind.encode()).hexdigest()[:12]
        if name not in self.known:
            self.known.add(name)
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(f"{kind}\n\n{what}", encoding="utf-8", errors="backslashreplace")


def place_of(error: BaseException) -> str:
    """Class of an error, and the innermost line of the package that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "amygdala_tl" in frame.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename.rpartition('amygdala_tl/')[2]}, {last.name}: {last.line}"


def main(name: str, folder: str, seconds: str, *options: str) -> None:
    """Fuzz one target for `seconds` of CPU time, its imports included, and leave `stats.json`."""
    with atheris.instrument_imports(include=["amygdala_tl", "httpx_sse"], enable_loader_override=False):
        from amygdala_tl.errors import AmygdalaError
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]()
    failures, limit = Failures(Path(folder)), float(seconds)
    tried, slowest = 0, 0.0

    def try_one(data: bytes) -> None:
        nonlocal tried, slowest
        start = time.process_time()
        try:
            target(data)
        except AmygdalaError as error:
            if len(message := str(error)) > LONGEST_MESSAGE:
                failures.keep(f"a message of {len(message)} characters: {place_of(error)}", data, message[:500])
        except Exception as error:  # anything else that a decoder raises is what this looks for
            failures.keep(place_of(error), data, "".join(traceback.format_exception(error)))
        end = time.process_time()
        tried, slowest = tried + 1, max(slowest, end - start)
        if end - start > SLOW:
            failures.keep("too slow", data, f"{end - start:.1f} s")
        if end > limit:  # libFuzzer's own limit is of wall time
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            stats = {"tried": tried, "slowest": slowest, "megabytes": megabytes, "seconds": end}
            (failures.folder / "stats.json").write_text(json.dumps(stats))
            os._exit(0)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    atheris.Setup([sys.argv[0], *options], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
