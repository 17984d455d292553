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
from amygdala_tl.routes.running import Floats, Places
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

    def look(self, entries: Sequence[Entry], positions: Sequence[int], places: Places, z: Floats, held: Places) -> None:
        """Fire the events of one new token each of some sequences.

        Args:
            entries: the sequences.
            positions: of the tokens.
            places: of the sequences.
            z, held: [sequence, rule] of the windows that end there, and their tokens.
        """
        armed, above = self._armed[places], z > self._above
        for row, rule in np.argwhere(armed & above).tolist():
            self._fire(self.rules[rule], entries[row], positions[row], float(z[row, rule]), int(held[row, rule]))
        self._armed[places] = np.where(armed, ~above, z < self._above - REARM)

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
