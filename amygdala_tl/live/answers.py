"""The routes' answers, from JSON to checked records: the server may be another version, or not a readout server."""

from collections.abc import Mapping

import msgspec
import numpy as np
from jaxtyping import Float

from amygdala_tl.decode import convert, decode
from amygdala_tl.errors import LiveUnreachable
from amygdala_tl.live.records import Array, Generated, Sequence, Served
from amygdala_tl.readout.manifest import Manifest

REMEDY = "check the address, and that server and client have the same version of amygdala-tl"
_Rows = list[list[list[float]] | None]
"""[token][layer][concept]; null for a token that was not computed."""


class _Tokens(msgspec.Struct, kw_only=True):
    request_id: str
    index: int
    token_ids: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET  # left out by a server that keeps texts to itself
    readout: _Rows

    @property
    def ids(self) -> tuple[int, ...]:
        return () if isinstance(self.token_ids, msgspec.UnsetType) else self.token_ids


class _Event(_Tokens, kw_only=True):
    first: int
    text: str = ""


class _Sequence(_Tokens, kw_only=True):
    finished: bool
    prompt_tokens: int


class _Request(msgspec.Struct):
    concepts: list[str]
    layers: list[int]
    sequences: list[_Sequence]


def served_of(manifest: object, label: str) -> Served:
    """Read a manifest; raises LiveUnreachable if it is none."""
    said = convert(manifest, Manifest, label=label, remedy=REMEDY, error=LiveUnreachable)
    assert isinstance(manifest, Mapping)  # else it would not be a manifest
    rows, model = said.amygdala_tl.calibration.tokens, said.amygdala_tl.model
    mean, std = (None, None) if rows is None else (np.asarray(side, dtype=np.float32) for side in (rows.mean, rows.std))
    name = "" if model is None else model.id
    return Served(tuple(said.concepts), tuple(said.layers), model=name, mean=mean, std=std, manifest=manifest)


def generated_of(data: str, served: Served, label: str) -> Generated:
    """Read one event of the stream; raises LiveUnreachable if it is none of this readout."""
    label += ", an event of the stream"
    event = decode(data, _Event, label=label, remedy=REMEDY, error=LiveUnreachable)
    scores = _scores(event, (len(served.layers), len(served.concepts)), label)
    return Generated(event.request_id, event.index, event.first, event.ids, event.text, scores)


def sequences_of(answer: object, label: str) -> tuple[Sequence, ...]:
    """Read the answer about one request; raises LiveUnreachable if it is not the readout of a request."""
    label += ", a request"
    said = convert(answer, _Request, label=label, remedy=REMEDY, error=LiveUnreachable)
    shape = (len(said.layers), len(said.concepts))
    return tuple(
        Sequence(one.request_id, one.index, one.finished, one.prompt_tokens, one.ids, _scores(one, shape, label))
        for one in said.sequences
    )


def _scores(tokens: _Tokens, shape: tuple[int, int], label: str) -> Float[Array, "token layer concept"]:
    """Stack the scores of the tokens, with NaN for a token that was not computed."""

    def strange(what: str) -> LiveUnreachable:
        return LiveUnreachable(f"the server answers, but not as a readout server: {what}", label=label, remedy=REMEDY)

    if not isinstance(tokens.token_ids, msgspec.UnsetType) and len(tokens.readout) != len(tokens.token_ids):
        raise strange(f"{len(tokens.readout)} rows for {len(tokens.token_ids)} tokens")
    scores = np.full((len(tokens.readout), *shape), np.nan, dtype=np.float32)
    for index, row in enumerate(tokens.readout):
        if row is None:
            continue
        if len(row) != shape[0] or any(len(side) != shape[1] for side in row):  # numpy would stretch a row of one
            raise strange(f"a row with a shape other than {shape}")
        with np.errstate(over="ignore"):  # it becomes infinite, which every reader skips
            scores[index] = row
    return scores
