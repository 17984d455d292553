"""All targets under coverage-guided fuzzing, several at a time, with one line for each: `make fuzz SECONDS=60`.

Each target starts from the small inputs in `tests/fuzz/corpus/<target>/`. The exit code is 1 if any input made a decoder do
anything but return or raise an `AmygdalaError`, take more than 2 s or 1.5 GB, or hang.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.targets import TARGETS

HERE = Path(__file__).parent
HANGS = 20  # seconds for one input, after which libFuzzer ends the process
MEGABYTES = 1500  # for the whole process, torch included
LONGEST = 16384  # bytes of an input


@dataclass
class Done:
    """What one process, or all processes of a target, did."""

    seconds: float = 0.0
    tried: int = 0
    covered: int = 0
    slowest: float = 0.0
    megabytes: int = 0
    failures: dict[str, Path] = field(default_factory=dict)

    def add(self, other: "Done") -> None:
        """Take in what another process of the same target did."""
        self.seconds += other.seconds
        self.tried += other.tried
        self.covered = max(self.covered, other.covered)
        self.slowest = max(self.slowest, other.slowest)
        self.megabytes = max(self.megabytes, other.megabytes)
        self.failures |= other.failures


def fuzz(name: str, seconds: float, seed: int, findings: Path) -> Done:
    """Run one target for `seconds` of CPU time, starting again after an input that ended the process."""
    done, found = Done(), findings / f"{name}-{seed}-corpus"
    found.mkdir(exist_ok=True)
    while seconds - done.seconds > 1:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-{seed}-", dir=findings))
        options = [
            f"-seed={seed}", f"-timeout={HANGS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}",
            f"-artifact_prefix={folder}/ended-", f"-dict={HERE}/words.dict", str(found), str(HERE / "corpus" / name),
        ]  # fmt: skip
        command = [sys.executable, "-m", "tests.fuzz.one", name, str(folder), str(seconds - done.seconds), *options]
        with (folder / "log").open("wb") as log:
            code = subprocess.run(command, stdout=log, stderr=log, cwd=HERE.parents[1], check=False).returncode
        done.add(report_of(folder, code))
        if code and not list(folder.glob("ended-*")):
            break  # the target cannot even start
        seed += 1000
    return done


def report_of(folder: Path, code: int) -> Done:
    """Read what a process left."""
    log, stats = (folder / "log").read_text(errors="replace"), folder / "stats.json"
    covered = [int(count) for count in re.findall(r"cov: (\d+)", log)]
    said = (
        json.loads(stats.read_text())
        if stats.exists()
        else {"tried": 0, "slowest": 0.0, "megabytes": 0, "seconds": HANGS}
    )
    failures = {path.read_text().split("\n")[0]: path.with_suffix("") for path in folder.glob("*.txt")}
    failures |= {f"{path.name.split('-')[1]} ended the process": path for path in folder.glob("ended-*")}
    if code and not failures:
        failures["the process ended"] = folder / "log"
    return Done(**said, covered=max(covered, default=0), failures=failures)


def main() -> int:
    """Fuzz, print the table, and return the exit code."""
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reader.add_argument("--seconds", type=float, default=60.0, help="CPU seconds for each target")
    reader.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    reader.add_argument("--parts", type=int, default=1, help="processes that share a target's time")
    reader.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    reader.add_argument(
        "--findings", type=Path, help="folder to keep inputs that failed in; a temporary one if not given"
    )
    given = reader.parse_args()
    findings = given.findings or Path(tempfile.mkdtemp(prefix="amygdala-fuzz-"))
    findings.mkdir(parents=True, exist_ok=True)
    start, totals = time.monotonic(), {name: Done() for name in given.targets}
    with ThreadPoolExecutor(given.jobs) as pool:
        runs = [
            (name, pool.submit(fuzz, name, given.seconds / given.parts, 1 + part, findings))
            for part in range(given.parts)
            for name in given.targets
        ]
        for name, run in runs:
            totals[name].add(run.result())
    print(f"{'target':<10}{'CPU s':>8}{'inputs':>12}{'coverage':>10}{'slowest s':>11}{'peak MB':>9}{'failures':>10}")
    for name, done in totals.items():
        row = f"{name:<10}{done.seconds:>8.0f}{done.tried:>12,}{done.covered:>10,}{done.slowest:>11.2f}"
        print(f"{row}{done.megabytes:>9,}{len(done.failures):>10}")
    failed = {f"{name}: {kind}": path for name, done in totals.items() for kind, path in done.failures.items()}
    for kind, path in failed.items():
        print(f"  {kind}\n    {path}")
    print(f"{len(totals)} targets, {time.monotonic() - start:.0f} s, {len(failed)} failures")
    return 1 if failed or not all(done.tried for done in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
