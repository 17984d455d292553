"""A scorer for Inspect: what the model's answers read as, one number a concept."""

from collections.abc import Awaitable, Callable
from statistics import fmean
from typing import Any

from amygdala_tl.errors import InputError

try:
    from inspect_ai.scorer import Score, mean, scorer, stderr
except ModuleNotFoundError as cause:
    raise InputError("Inspect is not installed", remedy="run `pip install 'amygdala-tl[inspect]'`") from cause


@scorer(metrics={"*": [mean(), stderr()]})  # type: ignore[untyped-decorator]  # inspect_ai is an extra
def readout_scores() -> Callable[[Any, Any], Awaitable[Any]]:
    """Score a sample by the z of each concept over all layers, averaged over the answers of the model.

    The scores of the single answers are in the score's metadata, as `turns`. Answers without computed scores count for nothing.

    Raises:
        InputError: no answer has readouts, because another provider generated them or the bundle has no score over all layers.
    """

    async def score(state: Any, target: Any) -> Any:
        """Return the score of one sample."""
        said = [message.metadata or {} for message in state.messages if message.role == "assistant"]
        turns = [found["readout_z"] for found in said if "readout_z" in found]
        if not turns:
            what, need = (
                "the answers have no readouts over all layers",
                "a model readout/NAME, whose bundle has this score",
            )
            raise InputError(what, label=str(state.model), need=need, remedy="run the evaluation with another model")
        value = {concept: fmean(turn[concept] for turn in turns) for concept in turns[0]}
        return Score(value=value, metadata={"turns": turns})

    return score
