"""Messages from an engine process to the serving process: request ids, positions and scores of one step.

A message has three frames: JSON (request ids with row counts, shape, lost rows), positions as int64, scores as float32.
"""

import json
from collections.abc import Sequence

import numpy as np

from amygdala_tl.routes.store import Step


def encode(step: Step) -> list[bytes]:
    """Encode a step as frames."""
    head = {"requests": step.requests, "shape": step.scores.shape, "lost": step.lost, "failures": step.failures}
    return [
        json.dumps(head).encode(),
        np.ascontiguousarray(step.positions, dtype=np.int64).tobytes(),
        np.ascontiguousarray(step.scores, dtype=np.float32).tobytes(),
    ]


def decode(frames: Sequence[bytes]) -> Step:
    """Decode frames from `encode`.

    Raises:
        ValueError: the frames do not fit together.
    """
    first, second, third = frames
    head = json.loads(first)
    positions = np.frombuffer(second, dtype=np.int64)
    scores = np.frombuffer(third, dtype=np.float32).reshape(head["shape"])
    requests = tuple((str(name), int(count)) for name, count in head["requests"])
    if sum(count for _, count in requests) != len(positions) or len(positions) != len(scores):
        raise ValueError(f"{len(positions)} positions and {len(scores)} rows for {requests}")
    lost = tuple((str(name), int(end)) for name, end in head["lost"])
    return Step(requests=requests, positions=positions, scores=scores, lost=lost, failures=int(head["failures"]))
