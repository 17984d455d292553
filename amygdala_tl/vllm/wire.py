"""Messages from an engine process to the serving process: request ids, positions and scores of one step.

A message has three frames: JSON (request ids with row counts, shape, lost rows), positions as int64, scores as float32.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of one step of an engine.

    Attributes:
        requests: (request id, number of rows), in the order of the rows.
        positions: [token] position of each row's token in its request.
        scores: [token, layer, concept] float32.
        lost: (request id, position) of sequences; no more rows will come before that position.
        failures: number of steps that have lost their rows since the last message.
    """

    requests: tuple[tuple[str, int], ...]
    positions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    lost: tuple[tuple[str, int], ...] = ()
    failures: int = 0


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
