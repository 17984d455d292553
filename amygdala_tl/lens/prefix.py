"""Tokens that many texts begin with (BOS, chat template, system prompt), run once: later passes attend to their keys and values.

A pass behind a shared prefix gives the same stream as a whole pass, up to rounding. What an architecture keeps of earlier tokens
differs (keys and values, a window of them, recurrent states), and so does what the libraries make of it when more than one token
follows. So the first pass is made both ways, and the prefix is shared only if they agree.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from einops import repeat

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.caches import behind, empty_cache
from amygdala_tl.lens.parity import TOLERANCES, golden_ids, relative_difference
from amygdala_tl.lens.residuals import SharedPrefix, read_streams, run_resid_post
from amygdala_tl.lens.third_party import library_errors

TRIAL_TOKENS = 24
"""Tokens of each text of the trial: more than the window of any model that the tests run."""

TRIAL_PASSES = 5
"""Prefixes and tokens that sharing runs before the first text, at most: the prefix, the trial's two texts whole and behind it."""


def share_prefix(model: Any, prefix: Sequence[int], layers: Sequence[int], label: str) -> SharedPrefix | None:
    """Run `prefix` once, up to the last of `layers`; None, and a warning, where passes behind it give another stream.

    Args:
        model: HookedTransformer or TransformerBridge.
        prefix: token ids.
        layers: decoder layers that passes behind it will read.
        label: name of the model for the warning.
    """
    dtype, vocabulary = str(next(model.parameters()).dtype).removeprefix("torch."), model.W_E.shape[0]
    allowed = TOLERANCES[dtype]
    tried = torch.tensor(golden_ids(vocabulary, 2 * TRIAL_TOKENS)).reshape(2, TRIAL_TOKENS)
    whole = torch.cat([repeat(torch.tensor(prefix), "token -> text token", text=2), tried], dim=1)
    try:
        with library_errors("the model cannot continue a text", label, "none"):
            shared = run_prefix(model, prefix, layers)
            found = relative_difference(
                run_resid_post(model, tried, layers, behind=shared),
                run_resid_post(model, whole, layers)[:, len(prefix) :],
                allowed,
            )
        why = f"its stream would differ by {found:.1e}"
    except ModelError as cause:
        found, why = torch.inf, str(cause.got)
    if found <= allowed:
        return shared
    warnings.warn(
        f"{label} runs the {len(prefix)} tokens before every text anew: {why} behind shared ones.", stacklevel=2
    )
    return None


def run_prefix(model: Any, prefix: Sequence[int], layers: Sequence[int]) -> SharedPrefix:
    """Run `prefix` up to the last of `layers`; the model's own hooks fire. Arguments as in `share_prefix`, without its trial."""
    tokens = torch.tensor([list(prefix)]).to(next(model.parameters()).device)
    argument, cache = empty_cache(model)
    options = behind(argument, cache, torch.ones_like(tokens))
    with torch.no_grad():
        read_streams(model, layers, {}, partial(model, tokens, return_type=None, **options))
    return SharedPrefix(len(prefix), cache, argument)
