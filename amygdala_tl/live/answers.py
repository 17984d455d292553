"""What the routes send, JSON to records, checked: a server may be another version, or no readout server at all."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from amygdala_tl.errors import LiveUnreachable
from amygdala_tl.live.records import Array, Generated, Sequence, Served
from amygdala_tl.readout.manifest import read_manifest


def served_of(manifest: object, label: str) -> Served:
    """The record of a manifest.

    Raises:
        LiveUnreachable: it is no manifest.
    """
    if not isinstance(manifest, Mapping):
        raise _strange("the manifest is not an object", label)
    said = read_manifest(manifest, label, LiveUnreachable)
    rows, model = said.amygdala_tl.calibration.tokens, said.amygdala_tl.model
    mean, std = (None, None) if rows is None else (np.asarray(side, dtype=np.float32) for side in (rows.mean, rows.std))
    return Served(
        concepts=tuple(said.concepts),
        layers=tuple(said.layers),
        model="" if model is None else model.id,
        mean=mean,
        std=std,
        manifest=manifest,
    )


def generated_of(data: str, served: Served, label: str) -> Generated:
    """The record of one event of the stream.

    Raises:
        LiveUnreachable: it is none of this readout.
    """
    try:
        said = json.loads(data)
        token_ids = tuple(int(token) for token in said["token_ids"])
        return Generated(
            request_id=str(said["request_id"]),
            index=int(said["index"]),
            first=int(said["first"]),
            token_ids=token_ids,
            text=str(said["text"]),
            scores=scores_of(said["readout"], len(token_ids), served),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as cause:
        raise _strange(f"an event of the stream cannot be read: {cause!r}"[:200], label) from cause


def sequences_of(said: Any, label: str) -> tuple[Sequence, ...]:
    """The records of one request's answer.

    Raises:
        LiveUnreachable: it is none.
    """
    try:
        shape = (len(said["layers"]), len(said["concepts"]))
        return tuple(_sequence(one, shape) for one in said["sequences"])
    except (ValueError, KeyError, TypeError, OverflowError) as cause:
        raise _strange(f"a request's readout cannot be read: {cause!r}"[:200], label) from cause


def scores_of(rows: Any, n_tokens: int, served: Served) -> Float[Array, "token layer concept"]:
    """The scores of `n_tokens` tokens as one array, rows of null as NaN.

    Raises:
        ValueError: their number or shape is another.
    """
    return _scores(rows, n_tokens, (len(served.layers), len(served.concepts)))


def _scores(rows: Any, n_tokens: int, shape: tuple[int, int]) -> Float[Array, "token layer concept"]:
    if len(rows) != n_tokens:
        raise ValueError(f"{len(rows)} rows for {n_tokens} tokens")
    scores = np.full((n_tokens, *shape), np.nan, dtype=np.float32)
    for index, row in enumerate(rows):
        if row is not None:
            with np.errstate(over="ignore"):  # infinite then, which no reader takes for a score
                values = np.asarray(row, dtype=np.float32)
            if values.shape != shape:  # numpy would stretch a row of one
                raise ValueError(f"a row of shape {values.shape} where {shape} is served")
            scores[index] = values
    return scores


def _sequence(said: Any, shape: tuple[int, int]) -> Sequence:
    token_ids = tuple(int(token) for token in said["token_ids"])
    return Sequence(
        request_id=str(said["request_id"]),
        index=int(said["index"]),
        finished=bool(said["finished"]),
        prompt_tokens=int(said["prompt_tokens"]),
        token_ids=token_ids,
        scores=_scores(said["readout"], len(token_ids), shape),
    )


def _strange(what: str, label: str) -> LiveUnreachable:
    return LiveUnreachable(
        f"the server answers, but not as a readout server: {what}",
        label=label,
        remedy="check the address, and that server and client have the same version of amygdala-tl",
    )
