"""Metrics of some concepts: how strongly each was read over the last tokens, for a dashboard.

The numbers are summed up here and written once a second, since a step of an engine may end many windows.
"""

import time
from collections.abc import Sequence

import numpy as np

from amygdala_tl.errors import InputError
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.record import Readout
from amygdala_tl.routes.metrics import ANY, EDGES, Metrics
from amygdala_tl.routes.rules import Rule, checked_rules
from amygdala_tl.routes.running import Floats
from amygdala_tl.settings import ALERT

MOST_CONCEPTS = 32
"""Concepts with metrics of their own: each takes a time series for every threshold."""

_EVERY = 1.0  # seconds between two updates of the metrics
_EDGES = np.array(EDGES)


def metrics_rules(names: Sequence[str], readout: Readout) -> tuple[Rule, ...]:
    """Return the windows of concepts that have metrics: over all layers, or at the middle one of a readout without that score.

    Raises:
        InputError: there are too many, or the readout does not have one.
        ReadoutError: the readout has no z of single tokens.
    """
    concepts, layer = named_concepts(names, readout.concepts), None if readout.combined else readout.middle_layer
    if len(concepts) > MOST_CONCEPTS:
        need, remedy = f"at most {MOST_CONCEPTS}", "choose the ones that matter"
        raise InputError("too many concepts with metrics", got=len(concepts), need=need, remedy=remedy)
    return checked_rules([Rule(concept, 0.0, layer=layer) for concept in concepts], readout)


class ConceptMetrics:
    """Sums the z of windows, and writes them to the metrics."""

    def __init__(self, rules: Sequence[Rule], metrics: Metrics) -> None:
        """Start at zero, with `metrics` that have the concepts of `rules`, from `metrics_rules`."""
        self.rules = tuple(rules)
        self._metrics = metrics
        self._above = np.zeros((len(rules), len(EDGES)), dtype=np.int64)
        self._tokens, self._sum = np.zeros(len(rules), dtype=np.int64), np.zeros(len(rules))
        self._written = 0.0

    def look(self, z: Floats) -> None:
        """Count the windows that end at some tokens: z [token, concept], -inf where there is none yet."""
        there = z > -np.inf
        self._above += (z[:, :, None] > _EDGES).sum(axis=0)
        self._tokens += there.sum(axis=0)
        self._sum += np.where(there, z, 0).sum(axis=0)
        if time.monotonic() > self._written + _EVERY:
            self.write()

    def write(self) -> None:
        """Write what has been counted since the last time."""
        self._written, window = time.monotonic(), str(ALERT.window)
        for row, rule in enumerate(self.rules):
            if tokens := int(self._tokens[row]):
                self._metrics.show((rule.concept, window), round(float(self._sum[row] / tokens), 4))
                self._metrics.count((rule.concept, ANY), tokens)
                for edge, times in zip(EDGES, self._above[row].tolist(), strict=True):
                    self._metrics.count((rule.concept, str(edge)), times)
        self._above[:], self._tokens[:], self._sum[:] = 0, 0, 0.0
