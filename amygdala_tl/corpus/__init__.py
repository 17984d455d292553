"""The second room: notes become a corpus of unique, labelled texts.

    build_corpus(nodes, LabelRules())      nodes of a memory graph -> corpus
    read_training_data("training-data/")   a corpus folder, or folders of text files -> corpus
    read_again(folder, corpus.parameters)  the same folder in the same way
    Corpus.from_texts(texts, labels)       texts in hand -> corpus; `corpus_from_dataframe` takes a table
    write_corpus(corpus, "corpus/")        to disk, and `read_corpus` back
    count_examples(corpus)                 concept -> split -> polarity -> texts

A tag's score makes a text a positive or a negative of a concept, or neither (`labels.py`). Texts of one day or document
stay on one side of the split (`grouping.py`). If there are too many examples, a hash chooses among them (`hashing.py`).
Every draw is a hash of the thing drawn, never a random generator's, so a graph that grows by a few nodes changes the
corpus by a few texts, and the model only runs over those.
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.corpus.build import build_corpus
    from amygdala_tl.corpus.io import read_corpus, write_corpus
    from amygdala_tl.corpus.labels import LabelRules
    from amygdala_tl.corpus.loader import read_again, read_training_data
    from amygdala_tl.corpus.record import Corpus, count_examples

__all__ = [
    "Corpus", "LabelRules", "build_corpus", "count_examples", "read_again", "read_corpus", "read_training_data",
    "write_corpus",
]  # fmt: skip

__getattr__ = lazily(
    __name__, build="build_corpus", io="read_corpus write_corpus", labels="LabelRules",
    loader="read_again read_training_data", record="Corpus count_examples",
)  # fmt: skip
