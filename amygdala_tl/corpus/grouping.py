"""Groups of texts that belong together, and the split into training and held-out texts that never cuts one.

Notes of one day tell of the same events in nearly the same words. With one of them in training and the other held out,
a readout is rewarded for remembering the day. So the day (or week, or document) is drawn as a whole, by its own hash:
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
    """Say on which side a group falls: held out if its seeded hash in [0, 1) lies below `heldout_fraction`."""
    return "heldout" if unit_hash("split", seed, group) < heldout_fraction else "train"
