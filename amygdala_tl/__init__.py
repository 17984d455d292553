"""amygdala-tl: readout vectors from a model's own notes.

    import amygdala_tl as at

    lens = at.wrap(model)
    corpus = at.Corpus.from_texts(texts, labels, groups=days)
    readout = at.train(corpus, lens, layers="auto")
    readout.save("readout.safetensors")
    at.score(["The tide came in."], readout, lens)

Names are imported on first use, so that `import amygdala_tl` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amygdala_tl.api.capture import capture as capture
    from amygdala_tl.api.cross_talk import cross_talk as cross_talk
    from amygdala_tl.api.evaluate import evaluate as evaluate
    from amygdala_tl.api.extract import extract as extract
    from amygdala_tl.api.fit import fit as fit
    from amygdala_tl.api.judge import judge as judge
    from amygdala_tl.api.score import score as score
    from amygdala_tl.api.steer import steer as steer
    from amygdala_tl.api.train import train as train
    from amygdala_tl.api.verify import verify as verify
    from amygdala_tl.corpus.folders import read_training_data as read_training_data
    from amygdala_tl.corpus.io import read_corpus as read_corpus
    from amygdala_tl.corpus.io import write_corpus as write_corpus
    from amygdala_tl.corpus.record import Corpus as Corpus
    from amygdala_tl.errors import AmygdalaError as AmygdalaError
    from amygdala_tl.lens.model import load_model as load_model
    from amygdala_tl.lens.wrap import wrap as wrap
    from amygdala_tl.live.client import readout_client as readout_client
    from amygdala_tl.readout.record import Readout as Readout
    from amygdala_tl.readout.record import load_readout as load_readout
    from amygdala_tl.steering.edits import Ablate as Ablate
    from amygdala_tl.steering.edits import Add as Add
    from amygdala_tl.steering.edits import Clamp as Clamp
    from amygdala_tl.steering.hooks import intervene as intervene

_PUBLIC = {
    "Ablate": "steering.edits",
    "Add": "steering.edits",
    "AmygdalaError": "errors",
    "Clamp": "steering.edits",
    "Corpus": "corpus.record",
    "Readout": "readout.record",
    "capture": "api.capture",
    "cross_talk": "api.cross_talk",
    "evaluate": "api.evaluate",
    "extract": "api.extract",
    "fit": "api.fit",
    "intervene": "steering.hooks",
    "judge": "api.judge",
    "load_model": "lens.model",
    "load_readout": "readout.record",
    "read_corpus": "corpus.io",
    "read_training_data": "corpus.folders",
    "readout_client": "live.client",
    "score": "api.score",
    "steer": "api.steer",
    "train": "api.train",
    "verify": "api.verify",
    "wrap": "lens.wrap",
    "write_corpus": "corpus.io",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
