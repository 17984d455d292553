"""The package's calls are checked while tests run: types, shapes, and one size an axis name in a call."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.diagnostics.records import Interval
from amygdala_tl.directions.estimators import unit_directions
from tests.typechecks import checked, has_axes


def test_the_package_is_checked():
    with pytest.raises(BeartypeCallHintViolation):
        unit_directions(torch.ones(2, 3, 4), 7)
    with pytest.raises(BeartypeCallHintViolation):
        unit_directions(torch.ones(2, 4), ["joy", "awe"])
    with pytest.raises(BeartypeCallHintViolation):
        Interval(torch.ones(2), 0.5, torch.ones(2))


@checked(typechecker=beartype)
def halves(rows: Float[Tensor, "row d_model"], scale: float, *, named: "Unknown | None" = None) -> Float[Tensor, "row"]:
    """Half of every row's first number; one row too few for a negative scale, numbers for 0."""
    if scale == 0:
        return [0.0]
    return rows[:, 0] / 2 if scale > 0 else rows[1:, 0]


def test_a_function_with_shapes_is_checked_before_and_behind():
    assert halves(torch.ones(3, 2), 1.0, named=7).tolist() == [0.5] * 3
    for arguments in ((torch.ones(3), 1.0), (torch.ones(3, 2), "1"), (torch.ones(3, 2), -1.0), (torch.ones(3, 2), 0.0)):
        with pytest.raises(BeartypeCallHintViolation):
            halves(*arguments)
    assert halves(torch.ones(4, 2), 1.0).shape == (4,), "a failed call leaves no size behind"


@checked(typechecker=beartype)
@dataclass(frozen=True)
class Pair:
    first: Float[Tensor, "n"]
    second: Float[Tensor, "n"]

    @staticmethod
    @checked(typechecker=beartype)
    def count(value: int) -> str:
        return "many" if value > 1 else value


def test_records_and_methods_are_checked():
    assert Pair(torch.ones(2), torch.ones(2)).count(2) == "many"
    with pytest.raises(BeartypeCallHintViolation):
        Pair(torch.ones(2), torch.ones(3))
    with pytest.raises(BeartypeCallHintViolation):
        Pair.count("2")
    with pytest.raises(BeartypeCallHintViolation):
        Pair.count(1)


def test_shapes_are_found_wherever_they_stand_in_an_annotation():
    array = Float[Tensor, "n"]
    assert all(map(has_axes, (array, array | None, tuple[array, ...], dict[str, list[array]])))
    assert not any(map(has_axes, (Tensor, Any, int | None, list[Tensor], None)))
