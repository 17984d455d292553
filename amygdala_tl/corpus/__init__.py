"""The second room: notes become a corpus, unique texts that say what they are examples of.

    build_corpus(nodes, LabelRules())      nodes of a memory graph -> corpus
    read_training_data("training-data/")   a corpus folder, or folders of text files -> corpus
    write_corpus(corpus, "corpus/")        to disk, and `read_corpus` back
    count_examples(corpus)                 concept -> split -> polarity -> texts

A tag's score makes a text a positive or a negative of a concept, or neither (`labels.py`); texts of one day or
document stay on one side of the split (`grouping.py`); where there are too many examples a hash chooses (`choose.py`).
Nothing here draws from a random generator: every draw is a hash of the thing drawn, so that a graph that grows by a few
nodes changes the corpus by a few texts, and the model runs over those alone.
"""

from amygdala_tl.corpus.assemble import count_examples
from amygdala_tl.corpus.build import build_corpus
from amygdala_tl.corpus.folders import read_training_data
from amygdala_tl.corpus.io import read_corpus, write_corpus
from amygdala_tl.corpus.labels import LabelRules

__all__ = ["LabelRules", "build_corpus", "count_examples", "read_corpus", "read_training_data", "write_corpus"]
