"""Mean and standard deviation of rows that come in parts."""

import torch
from jaxtyping import Float
from torch import Tensor


class RunningMoments:
    """Mean and standard deviation of every column, in float64, of all rows added so far.

    Moments of two sets are joined without losing digits to a mean far from zero (Chan, Golub & LeVeque 1983).
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean = self._square = torch.zeros(())

    def add(self, rows: Float[Tensor, "row *column"]) -> None:
        """Add rows."""
        if not len(rows):
            return
        values = rows.double()
        mean, total = values.mean(dim=0), self.n + len(rows)
        shift = mean - self.mean
        self._square = self._square + (values - mean).square().sum(dim=0) + shift.square() * self.n * len(rows) / total
        self.mean = self.mean + shift * len(rows) / total
        self.n = total

    @property
    def deviation(self) -> Tensor:
        """Standard deviation, from the sum of squares over n - 1."""
        return (self._square / (self.n - 1)).sqrt()
