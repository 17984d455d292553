"""Which model is this, and is it the same as another one?

Two marks answer that. The *fingerprint* hashes all weights, so it tells checkpoints apart even where they differ little, but it
says nothing about a model whose weights TransformerLens has processed. The *golden numbers* are random projections of the
residual stream for fixed tokens, without its mean over d_model. No weight processing changes that part of the stream, so they
compare any two models, up to rounding. They see a changed configuration, too. The tokens are ids, so they see no tokenizer.
"""

import base64
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.lens.fingerprint import RENAMED
from amygdala_tl.lens.parity import N_TOKENS, TOLERANCES, golden_ids, mean_removed
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.records import LayerOutput, ModelInfo

Sameness = Literal["same", "other", "unverifiable"]

_PROBES = 8
_PLACES = 4
_SAME = 1e-3  # at least: processing in float32 moves the stream of a deep model by up to 1e-4


def versions(engine: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return package -> version of what runs a model; the engine is TransformerLens unless another one is given."""
    found = {name: importlib.metadata.version(name) for name in ("amygdala-tl", "transformers", "torch")}
    return found | dict(engine or {"transformer-lens": importlib.metadata.version("transformer-lens")})


def golden_layers(n_layers: int) -> list[int]:
    """Return the first, the middle and the last decoder layer."""
    return sorted({0, n_layers // 2, n_layers - 1})


def golden_tokens(vocabulary: int, n_ctx: int) -> Tensor:
    """Return the golden token ids [1, token] that a model of this size can run."""
    return torch.tensor([golden_ids(vocabulary, min(N_TOKENS, n_ctx))])


def golden_numbers(model: Any, n_ctx: int) -> str:
    """Return `golden_of` a HookedTransformer or TransformerBridge that takes at most `n_ctx` tokens."""
    layers = golden_layers(len(model.blocks))
    streams = run_resid_post(model, golden_tokens(model.W_E.shape[0], n_ctx), layers)[0]
    return golden_of([streams[:, column] for column in range(len(layers))])


def golden_of(streams: Sequence[Float[Tensor, "token d_model"]]) -> str:
    """Return projections of the golden layers' streams as base64 of float32, 1.3 characters a byte.

    Four tokens a layer and eight directions: the cosines of k i^2, which are spread evenly and need no random generator.
    """
    d_model = streams[0].shape[-1]
    axis = torch.arange(d_model, dtype=torch.float64) ** 2
    probes = torch.cos(torch.arange(1, _PROBES + 1, dtype=torch.float64)[:, None] * axis)
    places = torch.linspace(0, len(streams[0]) - 1, _PLACES + 1).long()[1:]
    chosen = torch.stack([mean_removed(stream[places].double().cpu()) for stream in streams])
    numbers = einsum(chosen, probes, "layer token d_model, probe d_model -> layer token probe")
    return base64.b64encode(numbers.float().numpy().astype("<f4").tobytes()).decode()


def golden_difference(one: str, other: str) -> float:
    """Return the relative difference of two models' golden numbers; infinity for other sizes.

    It is the median over tokens, at the layer where that is largest.
    """
    decoded = (bytearray(base64.b64decode(numbers)) for numbers in (one, other))
    ours, theirs = (torch.frombuffer(data, dtype=torch.float32) for data in decoded)
    if ours.shape != theirs.shape:
        return torch.inf
    relative = (ours - theirs).reshape(-1, _PLACES, _PROBES).norm(dim=-1)
    relative = relative / theirs.reshape(-1, _PLACES, _PROBES).norm(dim=-1)
    return float(relative.nan_to_num(nan=torch.inf).median(dim=1).values.max())


def golden_tolerance(*dtypes: str) -> float:
    """Return the largest golden difference of one model in these dtypes."""
    return max([_SAME, *(TOLERANCES.get(dtype, TOLERANCES["bfloat16"]) for dtype in dtypes)])


def same_model(one: ModelInfo, other: ModelInfo) -> Sameness:
    """Say whether two records are of the same computation, however its weights are stored, renamed or processed.

    The golden numbers decide. Where hashes of all weights differ, they must agree to float32 precision: in half precision a light
    fine-tune would agree as well. `unverifiable` means that there is nothing to compare: an old record.
    """
    sizes = [(info.n_layers, info.d_model) for info in (one, other)]
    if any(a and b and a != b for a, b in zip(*sizes, strict=True)):
        return "other"
    comparable = all(info.exact and not info.fingerprint.startswith(RENAMED) for info in (one, other))
    if not (one.golden and other.golden):
        return "unverifiable" if not comparable else "same" if not differences(one, other) else "other"
    changed = comparable and one.fingerprint != other.fingerprint
    tolerance = golden_tolerance() if changed else golden_tolerance(one.dtype, other.dtype)
    return "same" if golden_difference(one.golden, other.golden) <= tolerance else "other"


def differences(one: ModelInfo, other: ModelInfo) -> list[str]:
    """Name what differs between two records, as far as both hold it in the same form.

    A field of the configuration that only one of two versions of transformers knows is no difference.
    """
    renamed = [info.fingerprint.startswith(RENAMED) for info in (one, other)]
    comparable = one.exact and other.exact and renamed[0] == renamed[1]
    found = ["the weights"] if comparable and one.fingerprint != other.fingerprint else []
    fields = sorted(one.config.keys() & other.config.keys()) if renamed[0] == renamed[1] else []
    found += [f"`{name}` of the configuration" for name in fields if one.config[name] != other.config[name]]
    if one.tokenizer and other.tokenizer and one.tokenizer != other.tokenizer:
        found.append("the tokenizer")
    return found


def other_weights(info: ModelInfo, outputs: Sequence[LayerOutput], engine: str) -> str | None:
    """Say so if the outputs of every layer of `engine` for the golden tokens are those of other weights; None otherwise."""
    streams = [outputs[layer].streams.get(outputs[layer].way or "") for layer in golden_layers(len(outputs))]
    read = [stream for stream in streams if stream is not None]
    if not info.golden or len(read) < len(streams):
        return None
    difference, allowed = golden_difference(golden_of(read), info.golden), golden_tolerance(info.dtype)
    if difference <= allowed:
        return None
    return (
        f"the checkpoint in {engine} has other weights than {info.id} on {info.engine}: their streams for the golden tokens are "
        f"{difference:.1e} apart (at most {allowed:.0e} for the same weights)"
    )
