"""Events of alerts: a running mean has risen above a rule's threshold.

An event fires when z comes to stand above the threshold, and again in the same turn only after z has fallen `REARM` below it.
The latest events are kept, and go to readers and to a webhook.
"""

import itertools
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from amygdala_tl.routes.events import shown_id
from amygdala_tl.routes.metrics import Metrics
from amygdala_tl.routes.readers import Readers
from amygdala_tl.routes.rules import Rule
from amygdala_tl.routes.running import Floats, Places, Runs
from amygdala_tl.routes.store import Entry
from amygdala_tl.routes.webhook import Webhook, check_webhook

REARM = 0.5
"""How far z must fall below a threshold before its rule can fire again in the same turn."""

KEPT = 1000
"""Events that are kept."""

_LONGEST_ID = 200  # characters of a client's request id


class AlertEvent(msgspec.Struct, frozen=True):
    """What an event says.

    Attributes:
        id: number of the event, from 1 since the server started.
        time: ISO 8601, UTC.
        rule: as text.
        concept, layer, window, above: the rule's parts.
        z: of the window's mean.
        tokens: in the window, fewer than `window` at the beginning of a turn.
        request_id: id of the completion, or an opaque name where the server keeps these to itself.
        index: of the choice.
        token: index of the generated token, from 0, that was sampled from the window's last position.
    """

    id: int
    time: str
    rule: str
    concept: str
    layer: int | None
    window: int
    above: float
    z: float
    tokens: int
    request_id: str
    index: int
    token: int


class Alerts:
    """The rules of a server, and what has come of them.

    Attributes:
        rules: checked.
        readers: readers of events.
    """

    def __init__(
        self, rules: Sequence[Rule], metrics: Metrics, *, with_text: bool = False, webhook: Webhook | None = None
    ) -> None:
        """Start without events.

        Args:
            rules: from `checked_rules`.
            metrics: with a count for each rule.
            with_text: whether events say the client's request id.
            webhook: gets every event.
        """
        self.rules = tuple(rules)
        self.readers = Readers(metrics, "alert_readers")
        self._metrics, self._with_text, self._webhook = metrics, with_text, webhook
        self._above = np.array([rule.above for rule in rules])
        self._armed = np.ones((0, len(rules)), dtype=np.bool_)  # [place, rule]
        self._latest: deque[bytes] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)

    def latest(self, number: int) -> list[bytes]:
        """Return the last `number` events as JSON, oldest first."""
        return list(self._latest)[-number:] if number else []

    def begin(self, place: int) -> None:
        """Let all rules fire for the sequence at a place."""
        if place >= len(self._armed):
            more = np.ones((place + 1, len(self.rules)), dtype=np.bool_)
            self._armed = np.concatenate((self._armed, more))
        self._armed[place] = True

    def look(self, runs: Runs, tokens: Sequence[tuple[int, Entry]], z: Floats, held: Places) -> None:
        """Fire the events of new tokens.

        Args:
            runs: the tokens.
            tokens: position and sequence of each.
            z, held: [token, rule] of the windows that end there, and their tokens.
        """
        first, own, above = runs.first, runs.own, z > self._above
        rules = np.flatnonzero(above.any(axis=0) | ~self._armed[own].all(axis=0))
        if not len(rules):  # by far the most often
            return
        above, armed = above[:, rules], self._armed[own][:, rules]
        arms = z[:, rules] < self._above[rules] - REARM
        rows, sequence = np.arange(len(z))[:, None], runs.sequence
        # The row that has last armed or disarmed a rule, at each row: before the sequence's own ones, it is another's.
        turned = np.maximum.accumulate(np.where(above | arms, rows, -1), axis=0)
        before = np.concatenate((np.full((1, len(rules)), -1), turned[:-1]))
        columns = np.arange(len(rules))
        ready = np.where(before < first[sequence][:, None], armed[sequence], arms[before, columns])
        for row, column in np.argwhere(ready & above).tolist():
            (position, entry), rule = tokens[row], int(rules[column])
            self._fire(self.rules[rule], entry, position, float(z[row, rule]), int(held[row, rule]))
        turned = turned[runs.last]
        self._armed[own[:, None], rules] = np.where(turned < first[:, None], armed, arms[turned, columns])

    def _fire(self, rule: Rule, entry: Entry, position: int, z: float, held: int) -> None:
        event = AlertEvent(
            id=next(self._numbers),
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            rule=str(rule),
            concept=rule.concept,
            layer=rule.layer,
            window=rule.window,
            above=rule.above,
            z=round(z, 4),
            tokens=held,
            request_id=shown_id(entry, self._with_text)[:_LONGEST_ID],
            index=entry.index,
            token=position - len(entry.prompt_ids) + 1,
        )
        said = msgspec.json.encode(event)
        self._latest.append(said)
        self._metrics.count(event.rule)
        self.readers.put(said, len(said))
        if self._webhook is not None:
            self._webhook.put(said)

    def close(self) -> None:
        """End the webhook's thread."""
        if self._webhook is not None:
            self._webhook.close()


def alerts_of(rules: Sequence[Rule], metrics: Metrics, *, with_text: bool, webhook: str | None) -> Alerts | None:
    """Return the alerts of a server, or None without rules; other arguments as for `Alerts`.

    Args:
        webhook: address, or None.

    Raises:
        InputError: the address is wrong, or there are no rules for it.
    """
    check_webhook(webhook, len(rules))
    if not rules:
        return None
    return Alerts(rules, metrics, with_text=with_text, webhook=None if webhook is None else Webhook(webhook, metrics))
