"""Groups of dependent texts, and the split into training and held-out texts that keeps each group together.

Notes of one day describe the same events in nearly the same words. If one of them is in training and another held out, a
readout is rewarded for remembering the day. So a day (or week, or document) is drawn as a whole, by its own hash, and
adding a node moves no other node to the other side.
"""

import re
from datetime import date

from amygdala_tl.corpus.hashing import unit_hash
from amygdala_tl.records import Split

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = rf"(?P<{{}}>{'|'.join(_MONTHS)})[a-z]*\.?"
_DAY_OR_WEEK = re.compile(
    r"(?<!\d)(?:(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})|(?P<wy>\d{4})-W(?P<w>\d{2})"
    r"|(?P<cy>\d{4})\u5e74(?P<cm>\d{1,2})\u6708(?P<cd>\d{1,2})"
    rf"|(?P<ed>\d{{1,2}})(?:st|nd|rd|th)?\s{_MONTH.format('em')},?\s(?P<ey>\d{{4}}))(?!\d)"
    rf"|\b{_MONTH.format('am')}\s(?P<ad>\d{{1,2}})(?:st|nd|rd|th)?,?\s(?P<ay>\d{{4}})(?!\d)",
    re.ASCII | re.IGNORECASE,
)


def group_of(key: str, text: str = "") -> str:
    """Return a note's group: the day in its key, else its document (before `#`), else the day in its text, else the key.

    A day may be an ISO week.
    """
    document, mark, _ = key.partition("#")
    return day_or_week(key) or (document if mark else None) or day_or_week(text) or key


def day_or_week(name: str) -> str | None:
    """Return the first real day (`2031-03-04`, `4 March 2031`) or ISO week (`2031-W25`) in a name or text, or None.

    Days come in the ISO form, whatever their spelling. A day as `03/04/2031` does not say its month and is not read.
    """
    for match in _DAY_OR_WEEK.finditer(name):
        found = {part: value for part, value in match.groupdict().items() if value is not None and part != "s"}
        try:
            if "w" in found:
                date.fromisocalendar(int(found["wy"]), int(found["w"]), 1)
                return f"{found['wy']}-W{found['w']}"
            values = {part[-1]: value.casefold() for part, value in found.items()}
            month = values["m"]
            number = int(month) if month.isdigit() else _MONTHS.index(month) + 1
            return date(int(values["y"]), number, int(values["d"])).isoformat()
        except ValueError:
            continue
    return None


def split_of(group: str, *, heldout_fraction: float, seed: int) -> Split:
    """Return the side of a group: held out if its seeded hash in [0, 1) is below `heldout_fraction`."""
    return "heldout" if unit_hash("split", seed, group) < heldout_fraction else "train"
