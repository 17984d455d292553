"""Trials: a command is disturbed, run again to its end, and must have made what an undisturbed one makes."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.chaos import servers, serving
from tests.chaos.forks import Ended, Started, command, start
from tests.chaos.objects import leave_all_room, leave_room
from tests.chaos.same import difference, unreadable
from tests.chaos.stage import JOBS, Job, place

NOBODY = 65534
NO_MORE = "no more changes"
SERVERS = "hostile server"
SERVED = "served bundle"
MOST_CHANGES = 80
_RUN = 100_000  # numbers of trials for each seed of a run
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BY_NAME = {job.name: job for job in JOBS}


@dataclass(frozen=True)
class Trial:
    """One trial: its kind, of `KINDS`, `SERVERS` or `SERVED`; the job or client; the seed of its details, or the fault."""

    kind: str
    job: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial; `lost` is None if nothing was lost."""

    trial: Trial
    what: str
    lost: str | None = None
    skipped: bool = False

    @property
    def line(self) -> str:
        """All of it in one line."""
        return (
            f"{self.trial.kind}, {self.trial.job}, seed {self.trial.seed}: {self.what}: {self.lost or 'nothing lost'}"
        )


class Impossible(Exception):
    """A trial cannot be made here; the text says why."""


class TooLate(Exception):
    """The process had ended before it was killed."""


@dataclass(frozen=True)
class Scene:
    """Where trials take place: the stage, and what every job makes there undisturbed."""

    root: Path

    @property
    def stage(self) -> Path:
        """Folder with everything that jobs need."""
        return self.root / "stage"

    def undisturbed(self, job: Job) -> tuple[Path, Ended]:
        """The folder of a job after an undisturbed run, and how that run ended; made once."""
        return _undisturbed(self, job)

    def place(self, job: Job, trial: Trial) -> Path:
        """A fresh folder for a trial."""
        return place(
            self.stage, job, self.root / "trials" / f"{trial.kind} {trial.job} {trial.seed}".replace(" ", "-") / "here"
        )


@dataclass(frozen=True)
class Turn:
    """A trial that is under way: a fresh folder, the job, its undisturbed run, a source of chance, and the trial's number."""

    folder: Path
    job: Job
    calm: Ended
    chance: random.Random
    number: int

    def start(self, **how: Any) -> Started:
        """Start the job, as `forks.start` does."""
        return start(command(self.job.arguments), self.folder, **how)


@cache
def _undisturbed(scene: Scene, job: Job) -> tuple[Path, Ended]:
    folder = place(scene.stage, job, scene.root / "undisturbed" / job.name.replace(" ", "-") / str(os.getpid()))
    ended = start(command(job.arguments), folder).wait()
    if ended.code:
        raise RuntimeError(f"{job.name} fails undisturbed: {ended.err or ended.out}")
    return folder, ended


def attempt(scene: Scene, trial: Trial) -> Outcome:
    """Do one trial; one whose kill comes too late is done again with another time."""
    if trial.kind == SERVERS:
        fault = list(servers.FAULTS)[trial.seed]
        ended, grown = servers.meet(trial.job, fault, scene.root / "servers" / f"{trial.job} {trial.seed}")
        return Outcome(trial, f"{fault}: {ended.seconds:.1f} s, {grown:.0f} MB", servers.problem_of(ended, grown))
    chance = random.Random(f"{trial.kind} {trial.job} {trial.seed}")
    if trial.kind == SERVED:
        return Outcome(
            trial, *serving.meet(scene.stage, scene.root / SERVED.replace(" ", "-") / f"{trial.seed}", chance)
        )
    job = BY_NAME[trial.job]
    expected, calm = scene.undisturbed(job)
    for _ in range(10):
        folder = scene.place(job, trial)
        try:
            what, problem = KINDS[trial.kind](Turn(folder, job, calm, chance, trial.seed % _RUN))
            return Outcome(trial, what, problem or unreadable(folder, job.makes) or again(folder, job, expected))
        except Impossible as reason:
            return Outcome(trial, str(reason), skipped=True)
        except TooLate:
            continue
        finally:
            shutil.rmtree(folder.parent, ignore_errors=True)
    return Outcome(trial, "ten times too late", skipped=True)


def again(folder: Path, job: Job, expected: Path) -> str | None:
    """Run the job to its end, and say what differs from an undisturbed run."""
    ended = start(command(job.arguments), folder).wait()
    if ended.code:
        return f"cannot be run again, exit {ended.code}: {ended.err.strip()[-500:]}"
    return difference(expected, folder)


Tried = tuple[str, str | None]
"""What was done, and what was lost by it."""


def kill(turn: Turn) -> Tried:
    """Kill the job at a random time."""
    how, seconds = turn.chance.choice(SIGNALS), turn.chance.uniform(0.0, turn.calm.seconds)
    process = turn.start()
    time.sleep(seconds)
    process.kill(how)
    return _killed(turn, f"after {seconds:.3f} of {turn.calm.seconds:.3f} s", how, process.wait())


def kill_before_a_change(turn: Turn) -> Tried:
    """Kill the job just before one of its changes to files, each of them in turn."""
    change = turn.number + 1
    if change > turn.calm.changes:
        raise Impossible(NO_MORE)
    how = turn.chance.choice(SIGNALS)
    ended = turn.start(change=change, by=how).wait()
    return _killed(turn, f"before change {change} of {turn.calm.changes}", how, ended)


def _killed(turn: Turn, when: str, how: signal.Signals, ended: Ended) -> Tried:
    if ended.code == 0:
        raise TooLate
    problem = None if ended.code in (-how, 128 + how) and "Traceback" not in ended.err else _said(ended)
    if ended.code == 128 + how and (left := [path.name for path in turn.folder.rglob("*.tmp")]):
        problem = f"left over by a process that could have cleared up: {', '.join(left)}"
    return f"{how.name} {when}", problem


def two_at_once(turn: Turn) -> Tried:
    """Run the job twice at once in one folder, and kill one of them; the other must not notice."""
    seconds = turn.chance.uniform(0.0, turn.calm.seconds)
    first, other = (turn.start() for _ in range(2))
    time.sleep(seconds)
    first.kill(signal.SIGKILL)
    first.wait()
    ended = other.wait()
    return f"SIGKILL of one after {seconds:.3f} s", None if ended.code == 0 else f"the other one: {_said(ended)}"


def full_disk(turn: Turn) -> Tried:
    """Let the system refuse bytes: no file may grow past a random size, and an object store takes no more."""
    largest = int(10 ** turn.chance.uniform(3.5, 5.5))  # what it prints, to a file too, is smaller
    if turn.job.remote:
        leave_room(turn.folder, largest)
        ended = turn.start().wait()
        leave_all_room(turn.folder)
        return f"an object store with room for {largest} bytes", None if ended.graceful else _said(ended)
    ended = turn.start(largest_file=largest).wait()
    return f"no file over {largest} bytes", None if ended.graceful else _said(ended)


def small_disk(turn: Turn) -> Tried:
    """Run the job on a small disk in memory, with room for some of what it makes."""
    away, here = turn.folder.with_name("away"), turn.folder
    pages = sum(file.stat().st_size // 4096 + 2 for file in here.rglob("*"))
    size = 4096 * (pages + turn.chance.randint(1, 60))
    shutil.move(here, away)
    here.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", here], check=False, capture_output=True
    ).returncode:
        raise Impossible("no tmpfs can be mounted here")
    try:
        shutil.copytree(away, here, dirs_exist_ok=True)
        ended = start(command(turn.job.arguments), here).wait()
        shutil.rmtree(away)
        shutil.copytree(here, away)
    finally:
        subprocess.run(["umount", here], check=True)
    shutil.copytree(away, here, dirs_exist_ok=True)
    return f"a disk of {size} bytes", None if ended.graceful else _said(ended)


def full_output(turn: Turn) -> Tried:
    """Run the job with its output redirected to a full disk."""
    ended = turn.start(out="/dev/full").wait()
    return "an output that is full", None if ended.graceful else _said(ended)


def read_only(turn: Turn) -> Tried:
    """Run the job as a user who may read everything there and write nothing."""
    if turn.job.remote:
        leave_room(turn.folder, 0)
        ended = turn.start().wait()
        leave_all_room(turn.folder)
        return "an object store that takes nothing", None if ended.code == 2 and ended.graceful else _said(ended)
    if os.geteuid():
        raise Impossible("only root can become another user")
    ended = turn.start(uid=NOBODY).wait()
    return "a folder of another user", None if ended.code == 2 and ended.graceful else _said(ended)


KINDS = {
    "kill": kill,
    "kill before a change": kill_before_a_change,
    "two at once": two_at_once,
    "full disk": full_disk,
    "small disk": small_disk,
    "full output": full_output,
    "read-only folder": read_only,
}
TRIALS = {"kill": 1.0, "two at once": 1 / 10, "full disk": 1 / 6, "small disk": 1 / 10}
"""How many of a kind for each kill; of the others, which have nothing random, one for each job."""


def planned(kills: int, seed: int) -> Iterator[Trial]:
    """Yield all trials of a run: every job in turn for every kind, and every change to files of every job."""
    for kind in KINDS:
        each = MOST_CHANGES if kind == "kill before a change" else 1
        many = round(kills * TRIALS[kind]) if kind in TRIALS else each * len(JOBS)
        for number in range(many):
            yield Trial(kind, JOBS[number % len(JOBS)].name, seed * _RUN + number // (len(JOBS) if each > 1 else 1))

    yield from (Trial(SERVED, "serve and watch", seed * _RUN + number) for number in range(round(kills / 7)))
    yield from (Trial(SERVERS, client, number) for client in servers.CLIENTS for number in range(len(servers.FAULTS)))


def _said(ended: Ended) -> str:
    return f"exit {ended.code}: {ended.err.strip()[-500:]}"
