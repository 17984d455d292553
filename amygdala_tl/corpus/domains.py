"""Several corpora as one. Each is a domain, and its name stands before the names of its groups."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from amygdala_tl.corpus.reasons import Tally
from amygdala_tl.corpus.record import Corpus, assemble
from amygdala_tl.errors import InputError
from amygdala_tl.records import CorpusText

OTHER_DOMAIN = "also in an earlier corpus"
_BETWEEN = ": "


def joined(corpora: Mapping[str, Corpus]) -> Corpus:
    """Join corpora. A text is an example of the concepts that its own corpus labels, and of no other.

    A text that comes again counts in the first corpus only.

    Args:
        corpora: name of the domain -> its corpus.

    Raises:
        InputError: there are fewer than two corpora, or a name is empty or has a colon.
    """
    if len(corpora) < 2:
        raise InputError(
            "nothing to join", got=f"{len(corpora)} corpora", need="two or more", remedy="give another one"
        )
    if strange := [name for name in corpora if not name or _BETWEEN in name]:
        raise InputError("no name of a domain", got=repr(strange[0]), need="no colon in it", remedy="rename the corpus")
    tally, entering = Tally(), dict[str, CorpusText]()
    for name, corpus in corpora.items():
        for reason, count in corpus.dropped.items():
            tally.add(reason, corpus.examples.get(reason, ""), count=count)
        for text in corpus.texts:
            if text.id in entering:
                tally.add(OTHER_DOMAIN, text.text)
            else:
                entering[text.id] = replace(text, group=f"{name}{_BETWEEN}{text.group}")
    concepts = tuple(sorted({concept for corpus in corpora.values() for concept in corpus.concepts}))
    left_out = {
        concept: why
        for corpus in corpora.values()
        for concept, why in corpus.left_out.items()
        if concept not in concepts
    }
    notices = tuple(dict.fromkeys(notice for corpus in corpora.values() for notice in corpus.notices))
    parameters = {"domains": list(corpora)}
    return assemble(concepts, entering.values(), parameters=parameters, tally=tally, left_out=left_out, notices=notices)


def domains_of(corpus: Corpus) -> dict[str, str]:
    """Return the domain of every text of a joined corpus by its id; nothing for any other corpus."""
    names = corpus.parameters.get("domains", ())
    found = {text.id: text.group.partition(_BETWEEN)[0] for text in corpus.texts} if names else {}
    return found if set(found.values()) <= set(names) else {}


def shared_concepts(corpus: Corpus) -> tuple[str, ...]:
    """Return the concepts with training texts of both classes in at least two domains."""
    domains, sides = domains_of(corpus), Counter[str]()
    known = {
        (concept, domains[text.id], side)
        for text in corpus.texts
        if text.split == "train" and domains
        for side in ("positive", "negative")
        for concept in getattr(text, side)
    }
    for concept, domain, side in known:
        if side == "positive" and (concept, domain, "negative") in known:
            sides[concept] += 1
    return tuple(concept for concept in corpus.concepts if sides[concept] > 1)
