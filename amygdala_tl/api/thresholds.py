"""`thresholds`: where alerts should fire, from quiet turns."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tomli_w
import torch

from amygdala_tl.api.models import lens_of
from amygdala_tl.api.score import score_tokens
from amygdala_tl.decode import convert
from amygdala_tl.diagnostics.thresholds import Thresholds, alert_thresholds
from amygdala_tl.errors import InputError, ReadoutError
from amygdala_tl.files import atomic_write_text
from amygdala_tl.lens.model import Lens
from amygdala_tl.live.client import readout_client
from amygdala_tl.live.records import Served
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.readout.windows import largest_running
from amygdala_tl.routes.rules import ALERTS, Rule, checked_rules
from amygdala_tl.settings import ALERT

_DIGITS = 3
LONGEST = 7 * 86_400.0
"""Most seconds to listen to a stream."""


def thresholds(
    readout: Readout | str | Path,
    texts: Sequence[str] | None = None,
    lens: Lens | str | None = None,
    *,
    url: str | None = None,
    seconds: float = ALERT.seconds,
    concepts: Sequence[str] | None = None,
    window: int = ALERT.window,
    layer: int | None = None,
    false_alarms: float = ALERT.false_alarms,
) -> Thresholds:
    """Choose thresholds for alerts, which a stated share of quiet turns exceeds.

    The turns are texts that the model reads, or better what a server generates for a while. Turns that are too short to have a
    running mean (`Rule.least`) do not count.

    Args:
        readout: the server's.
        texts: quiet texts, each a turn; or give `url`.
        lens: the model that reads `texts`, or its name; the readout's own if None.
        url: address of a server that generates quiet turns.
        seconds: how long to listen to it.
        concepts: names; all of the readout's if None.
        window: tokens of the alerts' running means.
        layer: the layer that they read; None for the score over all layers.
        false_alarms: rate a turn.

    Raises:
        InputError: not one of `texts` and `url` is given, a number is out of range, a concept or layer is unknown, or no turn is
            long enough.
        ReadoutError: the readout has no calibration, or the server serves another one.
        ModelError: the model cannot be loaded.
        LiveReadoutError: the server's readouts cannot be read.
    """
    if (texts is None) == (url is None):
        raise InputError("turns come from texts or from a server", remedy="give `texts` or `url`")
    if not 0 < seconds <= LONGEST:
        raise InputError("not a time to listen", got=seconds, need=f"up to {LONGEST:.0f} s", remedy="choose another")
    readout = readout if isinstance(readout, Readout) else load_readout(readout)
    names = readout.concepts if concepts is None else named_concepts(concepts, readout.concepts)
    said = [{"concept": name, "above": 0.0, "window": window, "layer": layer} for name in names]
    rules = convert(said, list[Rule], label="thresholds", remedy="choose another window")
    checked_rules(rules, readout)
    own = readout.of_concepts(names)
    turns = _turns_of_texts(texts or (), own, lens) if url is None else _turns_of_stream(url, seconds, readout, own)
    z, least = _z_of(own, layer), rules[0].least
    found = [largest_running(scores, z, window, least=least, readable=readable) for scores, readable in turns]
    largest = [each for each in found if each is not None]
    rows = np.stack(largest) if largest else np.empty((0, len(own.concepts)))
    return alert_thresholds(rows, false_alarms, concepts=own.concepts, window=window, layer=layer)


def write_alerts(path: str | Path, found: Thresholds) -> None:
    """Write thresholds as the alerts that a server takes, rounded up; raises StorageError if the disk refuses."""
    above = [math.ceil(each * 10**_DIGITS) / 10**_DIGITS for each in found.above.tolist()]
    rules = [Rule(*each, found.window, found.layer) for each in zip(found.concepts, above, strict=True)]
    said = {"alert": [msgspec.to_builtins(rule) | {"window": rule.window} for rule in rules]}
    atomic_write_text(path, tomli_w.dumps(said), ALERTS)


Turn = tuple[Any, Any]
"""Raw scores [token, layer, concept], and which tokens are read: [token], or None for those without NaN."""


def _turns_of_texts(texts: Sequence[str], readout: Readout, lens: Lens | str | None) -> Iterator[Turn]:
    own = lens_of(readout, lens)
    for each in score_tokens(texts, readout, own, calibrated=False):
        yield each.scores.numpy(), each.readable.all(dim=-1).numpy()


def _turns_of_stream(url: str, seconds: float, readout: Readout, own: Readout) -> Iterator[Turn]:
    """Yield the generated tokens of every turn that begins while the server is listened to."""
    columns = [readout.concepts.index(concept) for concept in own.concepts]
    turns: dict[tuple[str, int], list[Any]] = {}
    ended: set[tuple[str, int]] = set()  # those that had begun before, or of which tokens are missing
    with readout_client(url) as client:
        served = client.manifest()
        _refuse_other(readout, served, client.label)
        for generated in client.stream_of(served, seconds=seconds):
            name = generated.request_id, generated.index
            if generated.first != sum(map(len, turns.get(name, []))):
                ended.add(name)
            if name not in ended:
                turns.setdefault(name, []).append(generated.scores[:, :, columns])
    for name, scores in turns.items():
        if name not in ended:
            yield np.concatenate(scores), None


def _refuse_other(readout: Readout, served: Served, label: str) -> None:
    known = readout.token_calibration
    same = (served.concepts, served.layers) == (readout.concepts, readout.layers)
    if same and known is not None and served.mean is not None:
        same = np.allclose(served.mean, known.mean.numpy(), rtol=1e-4, atol=1e-6)
    if not same:
        what, remedy = "the server serves another readout", "name the file that it serves"
        raise ReadoutError(what, label=label, remedy=remedy)


def _z_of(readout: Readout, layer: int | None) -> Callable[..., Any]:
    """Return what turns means [token, layer, concept] into z [token, concept], given their numbers of tokens."""

    def z(means: Any, *, tokens: Any) -> Any:
        scores, many = torch.from_numpy(means), torch.from_numpy(tokens)[:, None].expand(-1, len(readout.layers))
        if layer is None:
            return readout.combined_z(scores, tokens=many).numpy()
        return readout.calibrated(scores, of="tokens", tokens=many)[:, readout.column(layer)].numpy()

    return z
