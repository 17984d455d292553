"""`compare_domains`: how well each part of a joined corpus reads every other part."""

from dataclasses import replace

import torch

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.fit import fit
from amygdala_tl.api.labelled import examples, judged_texts
from amygdala_tl.corpus.domains import domains_of
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.diagnostics.diagnose import Diagnoser, method_of
from amygdala_tl.diagnostics.evaluation import judged_scores, text_scores
from amygdala_tl.diagnostics.records import DomainTable
from amygdala_tl.diagnostics.separation import reading_layers
from amygdala_tl.directions.auroc import auroc
from amygdala_tl.errors import FitError
from amygdala_tl.readout.record import Readout


def compare_domains(readout: Readout, corpus: Corpus, store: ActivationStore) -> DomainTable:
    """Fit the readout's method on the training texts of every domain alone, and read those of every other one.

    A domain's own texts are read by directions of other groups. What a domain does not label is NaN.

    Args:
        readout: fitted on `corpus`.
        corpus: joined from several (`corpus.domains.joined`).
        store: its activations.

    Raises:
        ReadoutError: the readout does not say how it was fitted.
    """
    method, said, domain = method_of(readout), readout.provenance, domains_of(corpus)
    read, train = (
        {domain[text.id] for text in examples(corpus, "train")},
        [t for t in corpus.texts if t.split == "train"],
    )
    names = tuple(name for name in corpus.parameters["domains"] if name in read)
    parts = [
        replace(corpus, concepts=readout.concepts, texts=tuple(text for text in train if domain[text.id] == name))
        for name in names
    ]
    found = torch.full((len(names), len(names), len(readout.concepts)), torch.nan, dtype=torch.float64)
    for row, part in enumerate(parts):
        try:
            home = fit(
                part,
                store,
                layers=readout.layers,
                aggregator=method.aggregator,
                denoise=",".join(map(str, method.steps)),
                read_position=said.read_position,
                min_examples=2,
            )
            own = Diagnoser(home, judged_texts(home, part, store, "train"), halves=False)
        except FitError:  # no concept with texts of both classes, or one group
            continue
        places, layers = [readout.concepts.index(name) for name in home.concepts], reading_layers(own.by_layer())
        for column, other in enumerate(parts):
            texts = judged_texts(home, other, store, "train")
            if column == row:
                scores = own.cross_fit.scores.sum(dim=0)
            else:
                scores = judged_scores(home, layers, text_scores(home, texts.data), texts.counts)
            found[row, column, places] = auroc(scores, texts.data.positive, texts.data.negative).double()
    return DomainTable(names, readout.concepts, found)
