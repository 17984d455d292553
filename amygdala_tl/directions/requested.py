"""The method that a caller asks for by name, checked as a whole before anything is computed."""

from amygdala_tl.directions.method import Method, parse_method
from amygdala_tl.errors import InputError
from amygdala_tl.records import ReadPosition
from amygdala_tl.settings import AUTO, Labels

GRADED_ESTIMATORS = ("linear", "whitened")


def requested_method(aggregator: str, denoise: str, labels: Labels, read_position: ReadPosition) -> Method | None:
    """Return the method, or None for `auto`, which is chosen on folds.

    Raises:
        InputError: no such aggregator or denoiser, or a combination that makes no sense.
    """
    if aggregator == AUTO and denoise:
        raise InputError(
            "auto chooses the denoisers", got=f"denoise {denoise}", remedy="name an aggregator beside it"
        )  # fmt: skip
    method = None if aggregator == AUTO else parse_method(aggregator, denoise)
    if aggregator == "subspace" and read_position != "pooled":
        raise InputError(
            "the subspace estimator needs all tokens of a text",
            got=f"read_position {read_position}",
            remedy="use read_position `pooled`",
        )
    if labels == "graded" and aggregator not in GRADED_ESTIMATORS:
        raise InputError(
            "the aggregator takes no graded labels",
            got=aggregator,
            need=" or ".join(GRADED_ESTIMATORS),
            remedy="change the aggregator",
        )
    return method
