"""Names of concepts, compared without regard to case and Unicode spelling."""

import unicodedata
from collections.abc import Sequence

from amygdala_tl.errors import InputError


def fold_name(name: str) -> str:
    """Return the form in which names are compared, NFC and case-folded: `Été`, `ÉTÉ` and `été` are one."""
    # Twice, because folding can take a composed letter apart (U+0390 folds to three code points).
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def named_concepts(names: Sequence[str], concepts: Sequence[str]) -> tuple[str, ...]:
    """Return those of `concepts` that `names` names, in the order of `names` and once each; blank names do not count.

    Raises:
        InputError: a name is not among the concepts.
    """
    by_fold = {fold_name(concept): concept for concept in concepts}
    wanted = [fold_name(name.strip()) for name in names if name.strip()]
    if unknown := ", ".join(name for name in wanted if name not in by_fold):
        raise InputError(
            "no such concept", got=unknown, need=", ".join(concepts), remedy="name concepts of the readout"
        )
    return tuple(dict.fromkeys(by_fold[name] for name in wanted))
