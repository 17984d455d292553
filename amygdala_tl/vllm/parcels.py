"""What goes to a worker with a text, and what comes back from it: bytes, because vLLM's messages return no tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.records import READ_POSITIONS

_KEY = "amygdala_tl"
_TENSORS = ("token_counts", "token_rows", "token_sample", "token_spread")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read of a prompt.

    Attributes:
        number: the caller's, of the text.
        content: for each token, 1 if it is the text's own, else 0.
        last_content: position of the last token with a letter or a digit.
        drawn: positions of the sampled tokens, see `token_sample`.
        whole: return the rows of all its tokens as they are.
    """

    number: int
    content: bytes
    last_content: int = 0
    drawn: tuple[int, ...] = ()
    whole: bool = False

    def extra_args(self) -> dict[str, Any]:
        """Return what `SamplingParams` carries to the worker."""
        return {_KEY: asdict(self)}

    @classmethod
    def of(cls, extra_args: Mapping[str, Any] | None) -> "Wanted | None":
        """Return the `Wanted` that `SamplingParams` carries, None for a request of somebody else."""
        said = (extra_args or {}).get(_KEY)
        return None if said is None else cls(**said)

    def row_of(self, position: int) -> int:
        """Return the place of a token among the text's own."""
        return sum(self.content[:position])


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to run, and what to read of it.

    Attributes:
        ids: token ids.
        wanted: what to read.
        anew: run all of its tokens, even those that vLLM has cached.
    """

    ids: Sequence[int]
    wanted: Wanted
    anew: bool


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a worker has read.

    Attributes:
        numbers: the texts that are pooled, in the order of `pooled`.
        pooled: None without texts.
        whole: number of a text -> rows of all its tokens [token, layer, d_model], float32.
        broken: texts with an activation that is NaN or infinite.
    """

    numbers: Sequence[int]
    pooled: Pooled | None
    whole: Mapping[int, Tensor]
    broken: Sequence[int]


def packed(parcel: Parcel) -> bytes:
    """Return a parcel as bytes."""
    tensors = {f"whole.{number}": rows for number, rows in parcel.whole.items()}
    if (pooled := parcel.pooled) is not None:
        tensors |= {str(position): value for position, value in pooled.positions.items()}
        tensors |= {name: value for name in _TENSORS if (value := getattr(pooled, name)) is not None}
    numbers = {"numbers": parcel.numbers, "broken": parcel.broken}
    tensors |= {name: torch.tensor(each, dtype=torch.long) for name, each in numbers.items()}
    return save({name: value.contiguous() for name, value in tensors.items()})


def unpacked(data: bytes) -> Parcel:
    """Return the parcel that `packed` made bytes of."""
    tensors = load(data)
    pooled = None
    if "token_rows" in tensors:
        positions = {position: tensors[position] for position in READ_POSITIONS if position in tensors}
        counts, rows, sample = (tensors[name] for name in _TENSORS[:3])
        pooled = Pooled(positions, counts, rows, sample, tensors.get(_TENSORS[3]))
    whole = {int(name.removeprefix("whole.")): rows for name, rows in tensors.items() if name.startswith("whole.")}
    return Parcel(tensors["numbers"].tolist(), pooled, whole, tensors["broken"].tolist())
