"""Commands killed, refused space and refused permission, hundreds of times, and clients before hostile servers: `make chaos`.

Every trial of a command works in a folder of its own and ends with the command run again: it must then have made what it makes
undisturbed, with nothing left over. The exit code is 1 if anything was lost, or if the time was up before all trials were done.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forks of a process with threads would hang

from tests.chaos.objects import object_server
from tests.chaos.report import table
from tests.chaos.stage import build, rehearse
from tests.chaos.trials import Outcome, Scene, attempt, planned


def main() -> int:
    """Try everything, print the table, and return the exit code."""
    reader = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reader.add_argument("--kills", type=int, default=210, help="processes to kill; the other trials are in proportion")
    reader.add_argument("--seed", type=int, default=0, help="seed of everything random")
    reader.add_argument("--jobs", type=int, default=os.cpu_count(), help="trials at a time")
    reader.add_argument("--minutes", type=float, default=30.0, help="stop after this time, whatever is left")
    reader.add_argument("--kinds", nargs="*", help="only these kinds of trial")
    given = reader.parse_args()
    start, outcomes = time.monotonic(), list[Outcome]()
    with tempfile.TemporaryDirectory(prefix="amygdala-chaos-") as root, object_server(Path(root)):
        scene = Scene(Path(root))
        os.chmod(root, 0o755)  # another user reads below it
        os.environ["AMYGDALA_TL_CACHE"] = f"{root}/cache"
        build(scene.stage)
        rehearse(scene.stage)
        trials = [
            trial for trial in planned(given.kills, given.seed) if given.kinds is None or trial.kind in given.kinds
        ]
        # Shuffled, a run that reaches its time limit has tried something of each kind.
        random.Random(given.seed).shuffle(trials)
        with ProcessPoolExecutor(given.jobs, mp_context=get_context("fork")) as pool:
            running = {pool.submit(attempt, scene, trial): trial for trial in trials}
            try:
                for done in as_completed(running, timeout=given.minutes * 60 - (time.monotonic() - start)):
                    error = done.exception()
                    outcomes.append(
                        done.result() if error is None else Outcome(running[done], "the trial failed", repr(error))
                    )
                    if outcomes[-1].lost:
                        print(outcomes[-1].line, flush=True)
            except TimeoutError:
                pool.shutdown(wait=False, cancel_futures=True)
    print(table(outcomes))
    lost, undone = [each for each in outcomes if each.lost], len(trials) - len(outcomes)
    for each in lost:
        print(f"  lost: {each.line}")
    print(f"{time.monotonic() - start:.0f} s, {len(lost)} lost" + (f", {undone} trials NOT DONE" if undone else ""))
    return 1 if lost or undone else 0


if __name__ == "__main__":
    sys.exit(main())
