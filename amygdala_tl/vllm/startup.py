"""The golden check at the start of a server: does it compute what the readout was made from?

The golden token ids go through the engine as its first requests, and their scores come back as those of any request. So the check
covers the weights, the configuration, the quantisation, the layers that the hooks are on, and the way to the serving process.
"""

import logging
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from amygdala_tl.errors import ModelError, ReadoutError
from amygdala_tl.lens.tokenize import TokenizedText, tokenize
from amygdala_tl.readout.golden import golden_tolerance, other_ids
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.collector import Collector
from amygdala_tl.routes.rows import Scores
from amygdala_tl.vllm.settings import TOLERANCE

logger = logging.getLogger("vllm.amygdala_tl")


async def refuse_other_model(engine: Any, collector: Collector, tolerance: float | None) -> None:
    """Run the golden check on vLLM's engine client.

    Args:
        engine: the client of the engine that will serve.
        collector: of the readout, which receives the engine's rows.
        tolerance: largest difference to accept; None for that of one model in two dtypes.

    Raises:
        ReadoutError: the served model gives the golden texts other scores or other token ids.
    """
    readout, config = collector.readout, engine.model_config
    golden, trained_on = readout.provenance.golden, readout.provenance.model
    if golden is None:
        logger.warning("readouts: cannot check that the readout was made for this model: it has no golden texts")
        return
    _refuse_other_tokenizer(readout, engine, config.model)
    dtypes = [str(config.dtype).removeprefix("torch."), *([] if trained_on is None else [trained_on.dtype])]
    usual = golden_tolerance(*dtypes)
    scores = [await _scores(engine, collector, ids) for ids in golden.ids]
    check = readout.golden_check(np.concatenate(scores), tolerance=usual if tolerance is None else tolerance)
    assert check is not None
    if not check.passed:
        what = "the served model is not the one that the readout was made for"
        remedy = (
            "serve the model it was trained on, or train one for this model; for a quantised copy, set "
            f"{TOLERANCE}={2 * check.difference:.1g} to accept scores that differ so much"
        )
        raise ReadoutError(what, label=config.model, got=str(check), remedy=remedy)
    say = logger.info if check.difference <= usual else logger.warning
    say("readouts: golden check passed: %s", check)


async def _scores(engine: Any, collector: Collector, ids: Sequence[int]) -> Scores:
    """Return the scores of every token, [token, layer, concept], NaN for those that do not fit the server's context."""
    from vllm import SamplingParams
    from vllm.inputs.engine import tokens_input

    readout = collector.readout
    found = np.full((len(ids), len(readout.layers), len(readout.concepts)), np.nan, dtype=np.float32)
    given = list(ids[: engine.model_config.max_model_len - 1])  # a token's stream does not depend on those after it
    name = f"amygdala-tl-golden-{secrets.token_hex(8)}"
    prompt = tokens_input(given, cache_salt=name)  # nobody's cached prefix, which would have no rows
    try:
        async for _ in engine.generate(prompt, SamplingParams(max_tokens=1, temperature=0.0), name):
            pass
    except ValueError as cause:
        remedy = "serve the model it was trained on, or train one for this model"
        what = "the served model does not take the golden token ids"
        raise ReadoutError(what, label=engine.model_config.model, got=str(cause), remedy=remedy) from cause
    for entry in collector.store.find(name):
        for position in entry.rows:
            found[position] = entry.rows.get(position)
        collector.store.remove(entry.engine_id)
    if not np.isfinite(found).any():
        what, remedy = "the engine sends no scores", "see the server's log for a failure of the readouts"
        raise ReadoutError(what, label=engine.model_config.model, remedy=remedy)
    return found


def _refuse_other_tokenizer(readout: Readout, engine: Any, model: str) -> None:
    """Refuse a tokenizer that reads the golden token ids as other texts; warn of one that gives these texts other ids."""
    golden = readout.provenance.golden
    tokenizer = getattr(engine.renderer, "tokenizer", None)
    if golden is None or tokenizer is None:
        return
    for text, ids in zip(golden.texts, golden.ids, strict=True):
        read = tokenizer.decode(list(ids))
        if "".join(text.split()) not in "".join(read.split()):
            what, remedy = (
                "the server's tokenizer is not the one of the readout",
                "serve the tokenizer it was trained with",
            )
            raise ReadoutError(what, label=model, got=read[-80:], need=text[:80], remedy=remedy)
    settings = readout.provenance.capture
    try:
        tokenized = tokenize(
            tokenizer, golden.texts, chat_template=settings.chat_template, max_tokens=settings.max_tokens
        )
        where = other_ids(golden, [text.ids if isinstance(text, TokenizedText) else () for text in tokenized])
    except ModelError as cause:
        where = str(cause)
    if where is not None:
        what = "the server's tokenizer or chat template is not the one that the readout was trained with"
        logger.warning("readouts: %s, so the scores of its chats may mean something else: %s", what, where)
