"""Groups of dependent texts, and the split into training and held-out texts that keeps each group together.

Notes of one day describe the same events in nearly the same words. If one of them is in training and another held out, a
readout is rewarded for remembering the day. So a day (or week, or document) is drawn as a whole, by its own hash, and
adding a node moves no other node to the other side.
"""

import re
from datetime import date

from amygdala_tl.corpus.hashing import unit_hash
from amygdala_tl.records import Split

_DAY_OR_WEEK = re.compile(r"(?<!\d)(?:\d{4}-\d{2}-\d{2}|\d{4}-[Ww]\d{2})(?!\d)", re.ASCII)


def group_of(key: str) -> str:
    """Return a node's group: the ISO day or week in its key, else its document (before `#`), else the whole key."""
    return day_or_week(key) or key.partition("#")[0] or key


def day_or_week(name: str) -> str | None:
    """Return the first real ISO day (`2031-03-04`) or week (`2031-W25`) in a name, or None."""
    for match in _DAY_OR_WEEK.finditer(name):
        found = match.group().upper()
        try:
            if "W" in found:
                date.fromisocalendar(int(found[:4]), int(found[6:]), 1)
            else:
                date.fromisoformat(found)
        except ValueError:
            continue
        return found
    return None


def split_of(group: str, *, heldout_fraction: float, seed: int) -> Split:
    """Return the side of a group: held out if its seeded hash in [0, 1) is below `heldout_fraction`."""
    return "heldout" if unit_hash("split", seed, group) < heldout_fraction else "train"
