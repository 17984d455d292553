"""Whether a command that was disturbed made what it makes undisturbed: the same bytes, or the same values where a model ran.

A model's activations depend on the batch that a text is in, in their last digits, and a run that goes on makes other batches.
"""

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.io import read_corpus
from amygdala_tl.errors import AmygdalaError
from amygdala_tl.readout.calibration import calibrate_tokens
from amygdala_tl.readout.record import load_readout
from amygdala_tl.records import READ_POSITIONS
from amygdala_tl.steering.results import read_run

CLOSE = 2e-3  # relative; float16 keeps 1e-3


def difference(expected: Path, found: Path) -> str | None:
    """Say how a folder differs from the one of an undisturbed run: files too many or too few, or other content; None if not."""
    left, right = files_of(expected), files_of(found)
    if left.keys() != right.keys():
        over, lacking = sorted(right.keys() - left.keys()), sorted(left.keys() - right.keys())
        return "; ".join(
            f"{what}: {', '.join(names)}" for what, names in (("left over", over), ("missing", lacking)) if names
        )
    for name, file in left.items():
        if what := _differs(file, right[name], expected, found):
            return f"{name}: {what}"
    stores = zip(
        *(sorted(path.parent for path in folder.rglob("store.json")) for folder in (expected, found)), strict=True
    )
    return next((what for pair in stores if (what := _other_store(*pair))), None)


def files_of(folder: Path) -> dict[str, Path]:
    """Name below the folder -> file. Shards are compared as one store, whatever texts each of them holds, without its index."""
    files = (path for path in folder.rglob("*") if path.is_file())
    paths = (path for path in files if not path.match("shard-*.safetensors") and path.name != "index.json")
    return {str(path.relative_to(folder)): path for path in paths}


def unreadable(folder: Path, makes: Sequence[str]) -> str | None:
    """Say what a reader takes for whole although it is not, or fails at with a traceback; None if all is well.

    A reader may refuse what a killed command left, in one message. It may not read it wrong: `difference` checks that afterwards.
    """
    for name in makes:
        for read, file in _readers(folder / name):
            try:
                read(file)
            except AmygdalaError:
                continue
            except Exception as error:
                return f"{name}: {type(error).__name__}: {error}"
    return None


def _readers(path: Path):
    if path.suffix == ".safetensors":
        yield load_readout, path
    for file, read in (("corpus.json", read_corpus), ("blocks.jsonl", read_run)):
        if (path / file).exists():
            yield read, path
    for file in path.glob("*/store.json"):
        yield ActivationStore.find, file.parent


def _differs(expected: Path, found: Path, here: Path, there: Path) -> str | None:
    one, other = (
        file.read_bytes().replace(str(folder).encode(), b".") for file, folder in ((expected, here), (found, there))
    )
    if one == other:
        return None
    if expected.suffix == ".safetensors":
        left, right = load_file(expected), load_file(found)
        same = left.keys() == right.keys() and all(_close(left[name], right[name]) for name in left)
        return None if same else "other tensors"
    if expected.suffix in (".json", ".jsonl"):
        rows = [_documents(expected, text) for text in (one, other)]
        return "damaged JSON" if None in rows else _unlike(*rows)
    return None if expected.suffix in (".html", ".tsv") and len(one) and len(other) else "other bytes"


def _documents(path: Path, text: bytes) -> list[object] | None:
    """Decode a file, or its lines; None if that cannot be done.

    The journal of `steer` grows. Its lines are in the order in which they were measured. A line that was cut off when the
    command was killed stays there, measured again behind it; two commands at once both write what both have measured, which
    must be the same.
    """
    rows, journal = [], path.name == "blocks.jsonl"
    for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
        try:
            rows.append(json.loads(line))
        except ValueError:
            if not journal:
                return None
    if not journal:
        return rows
    last = {row["key"]: row for row in rows}
    return None if any(_unlike(row, last[row["key"]]) for row in rows) else [last[key] for key in sorted(last)]


def _unlike(one: object, other: object, place: str = "") -> str | None:
    """Say where two JSON values differ. Hashes are left out: the last digit of a value changes them."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(one[key], other[key], f"{place}.{key}") for key in one if "sha256" not in key]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(left, right, f"{place}[{index}]") for index, (left, right) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, float) and isinstance(other, float):
        return None if math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE) else f"{place}: {one} or {other}"
    elif place.endswith(".golden.scores") and _close(_numbers(one), _numbers(other)):
        return None
    else:
        return None if one == other else f"{place}: {str(one)[:100]} or {str(other)[:100]}"
    return next((where for pair in pairs if (where := _unlike(*pair))), None)


def _numbers(written: object) -> torch.Tensor:
    """Decode numbers that a manifest holds in Base64."""
    return torch.frombuffer(bytearray(base64.b64decode(str(written))), dtype=torch.float32)


def _other_store(expected: Path, found: Path) -> str | None:
    stores = [ActivationStore.find(folder) for folder in (expected, found)]
    ids, layers = sorted({text for shard in stores[0]._shards for text in shard.rows}), (1, 2)
    for position in READ_POSITIONS:
        try:
            pair = [store.load(ids, layers, position) for store in stores]
        except AmygdalaError as error:
            return str(error)
        if not _close(*pair):
            return f"other activations at {position}"
    axes = torch.eye(stores[0].info.d_model).expand(len(layers), -1, -1)
    tokens = [calibrate_tokens(store.tokens(ids, layers), axes) for store in stores]
    if tokens[0].n != tokens[1].n:
        return "tokens were counted twice, or not at all"
    return None if _close(tokens[0].mean, tokens[1].mean) else "other means of tokens"


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), rtol=CLOSE, atol=1e-4)
