"""The routes' answers, from JSON to checked records: the server may be another version, or not a readout server."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from statistics import mode
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float

from amygdala_tl.decode import convert, decode
from amygdala_tl.errors import LiveUnreachable
from amygdala_tl.live.records import Array, CombinedScore, Generated, Sequence, Served
from amygdala_tl.readout.manifest import CombinedRows, LengthRows, Manifest
from amygdala_tl.readout.provenance import Verdicts
from amygdala_tl.records import LengthCalibration
from amygdala_tl.settings import SERVER, ServerLimits

REMEDY = "check the address, and that server and client have the same version of amygdala-tl"
_ROW = msgspec.json.Decoder(list[list[float | None]] | None)
"""Decoder of a token's scores, [layer][concept]; null for a token or a score that was not computed."""
_SUMS = msgspec.json.Decoder(list[float | None] | None)
"""Decoder of a token's scores over all layers, [concept]."""
_NOT_FINITE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|(-?(?:NaN|Infinity))', re.DOTALL)


class _Tokens(msgspec.Struct, kw_only=True):
    request_id: str
    index: int
    token_ids: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET  # left out by a server that keeps texts to itself
    readout: list[msgspec.Raw]  # decoded row by row, since the lists take eight times the memory of the array
    readout_combined: list[msgspec.Raw] | None = None

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


def served_of(data: bytes, label: str, limits: ServerLimits = SERVER) -> Served:
    """Read a manifest; raises LiveUnreachable if it is none."""
    manifest = decode(data, object, label=label, remedy=REMEDY, error=LiveUnreachable)
    said = convert(manifest, Manifest, label=label, remedy=REMEDY, error=LiveUnreachable)
    assert isinstance(manifest, Mapping)  # else it would not be a manifest
    n_layers, n_concepts = len(said.layers), len(said.concepts)
    if n_layers * n_concepts > limits.row_values:
        need = f"at most {limits.row_values:,} scores of a token"
        raise _strange(f"{n_layers:,} layers of {n_concepts:,} concepts", label, need)
    about = said.amygdala_tl
    rows, many = about.calibration.tokens, about.calibration.lengths
    mean, std = (None, None) if rows is None else _float32([rows.mean, rows.std], label)
    return Served(
        tuple(said.concepts),
        tuple(said.layers),
        model="" if about.model is None else about.model.id,
        mean=mean,
        std=std,
        manifest=manifest,
        digest=hashlib.sha256(data).hexdigest(),
        reading_layer=mode(about.reading_layers(said.concepts, said.layers).values()),
        lengths=None if many is None else _lengths(many),
        combined=None if about.combined is None else _combined(about.combined, label),
        unread=Verdicts(about.verdicts).unread,
    )


def _float32(mean_and_std: Iterable[list[list[float]]], label: str) -> tuple[Array, Array]:
    """Convert means and deviations; raises LiveUnreachable unless they stay finite, and deviations positive."""
    with np.errstate(over="ignore", under="ignore"):
        mean, std = (np.asarray(side, dtype=np.float32) for side in mean_and_std)
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise _strange("a calibration beyond the range of float32", label)
    return mean, std


def _combined(rows: CombinedRows, label: str) -> CombinedScore | None:
    """Read the score over all layers; None without a calibration of tokens."""
    of, many = rows.calibration.tokens, rows.calibration.lengths
    if of is None:
        return None
    mean, std = _float32([of.mean, of.std], label)
    weights = np.asarray(rows.weights, dtype=np.float32)
    return CombinedScore(weights, mean[0], std[0], None if many is None else _lengths(many))


def _lengths(rows: LengthRows) -> LengthCalibration:
    mean, floor, reach = (np.asarray(side, dtype=np.float64) for side in (rows.mean, rows.floor, rows.reach))
    return LengthCalibration(mean, floor, reach[:, None], rows.n)


def generated_of(data: str | bytes, served: Served, label: str, limits: ServerLimits = SERVER) -> Generated:
    """Read one event of the stream; raises LiveUnreachable if it is none of this readout."""
    label += ", an event of the stream"
    event = decode(_without_nan(data), _Event, label=label, remedy=REMEDY, error=LiveUnreachable)
    shape = (len(served.layers), len(served.concepts))
    _check_size(len(event.readout), shape, label, limits)
    scores, sums = _scores(event, shape, label), _sums(event, shape, label)
    if sums is None and served.combined is not None:  # of a server of an earlier version
        sums = served.combined.scores(scores)
    return Generated(event.request_id, event.index, event.first, event.ids, event.text, scores, sums)


def sequences_of(data: str | bytes, label: str, limits: ServerLimits = SERVER) -> tuple[Sequence, ...]:
    """Read the answer about one request; raises LiveUnreachable if it is not the readout of a request."""
    label += ", a request"
    said = decode(_without_nan(data), _Request, label=label, remedy=REMEDY, error=LiveUnreachable)
    shape = (len(said.layers), len(said.concepts))
    _check_size(sum(len(one.readout) for one in said.sequences), shape, label, limits)
    return tuple(
        Sequence(
            one.request_id,
            one.index,
            one.finished,
            one.prompt_tokens,
            one.ids,
            _scores(one, shape, label),
            _sums(one, shape, label),
        )
        for one in said.sequences
    )


def _check_size(n_tokens: int, shape: tuple[int, int], label: str, limits: ServerLimits) -> None:
    """Refuse scores that would not fit into memory before memory is taken: nulls are short, and their rows are not."""
    n_bytes = 4 * n_tokens * shape[0] * shape[1]
    if n_bytes > limits.array_bytes:
        got = f"{n_tokens:,} tokens of {shape[0]:,} layers and {shape[1]:,} concepts take {n_bytes:,} bytes"
        raise _strange(got, label, f"at most {limits.array_bytes:,} bytes")


def _scores(tokens: _Tokens, shape: tuple[int, int], label: str) -> Float[Array, "token layer concept"]:
    """Stack the scores of the tokens, with NaN for what was not computed: a token, or a score."""
    if not isinstance(tokens.token_ids, msgspec.UnsetType) and len(tokens.readout) != len(tokens.token_ids):
        raise _strange(f"{len(tokens.readout)} rows for {len(tokens.token_ids)} tokens", label)
    return _stacked(tokens.readout, _ROW, shape, label)


def _sums(tokens: _Tokens, shape: tuple[int, int], label: str) -> Float[Array, "token concept"] | None:
    """Stack the scores over all layers as `_scores` does; None for a server that does not give them."""
    if tokens.readout_combined is None:
        return None
    if len(tokens.readout_combined) != len(tokens.readout):
        got = f"{len(tokens.readout_combined)} rows over all layers for {len(tokens.readout)} tokens"
        raise _strange(got, label)
    return _stacked(tokens.readout_combined, _SUMS, shape[1:], label)


def _stacked(rows: list[msgspec.Raw], decoder: msgspec.json.Decoder[Any], shape: tuple[int, ...], label: str) -> Array:
    scores = np.full((len(rows), *shape), np.nan, dtype=np.float32)
    for index, raw in enumerate(rows):
        try:
            row = decoder.decode(raw)
        except (ValueError, RecursionError) as error:
            raise _strange(f"a row that is none: {error}", label) from error
        if row is None:
            continue
        sides = row if len(shape) == 2 else [row]
        if len(row) != shape[0] or any(len(side) != shape[-1] for side in sides):  # numpy would stretch a row of one
            raise _strange(f"a row with a shape other than {shape}", label)
        with np.errstate(over="ignore"):  # it becomes infinite, which every reader skips
            scores[index] = np.asarray(row, dtype=np.float32)
    return scores


def _without_nan(data: str | bytes) -> bytes:
    """Write null for NaN and the infinities, which Python's JSON writes and no JSON allows."""
    raw = data.encode(errors="replace") if isinstance(data, str) else data
    if b"NaN" not in raw and b"Infinity" not in raw:
        return raw
    return _NOT_FINITE.sub(lambda found: b"null" if found[1] else found[0], raw)


def _strange(got: str, label: str, need: str | None = None) -> LiveUnreachable:
    what = "the server answers, but not as a readout server"
    return LiveUnreachable(what, label=label, got=got, need=need, remedy=REMEDY)
