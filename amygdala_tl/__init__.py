"""amygdala-tl: readout vectors from a model's own notes.

    from amygdala_tl import capture, export_readout, extract_corpus, fit, load_model, score_texts

    corpus = extract_corpus(memory_file="memory.jsonl")
    store, _ = capture(corpus, load_model(), "activations")
    export_readout(fit(corpus, store), "readout.safetensors")
    score_texts(["The tide came in."], "readout.safetensors", calibrated=True)

Names are imported when they are first used, so that `import amygdala_tl` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amygdala_tl.corpus.folders import read_training_data as read_training_data
    from amygdala_tl.corpus.io import read_corpus as read_corpus
    from amygdala_tl.corpus.io import write_corpus as write_corpus
    from amygdala_tl.errors import AmygdalaError as AmygdalaError
    from amygdala_tl.lens.model import load_model as load_model
    from amygdala_tl.live.client import readout_client as readout_client
    from amygdala_tl.pipeline.capture import capture as capture
    from amygdala_tl.pipeline.extract import extract_corpus as extract_corpus
    from amygdala_tl.pipeline.fit import fit as fit
    from amygdala_tl.pipeline.score import score_texts as score_texts
    from amygdala_tl.readout.bundle import export_readout as export_readout
    from amygdala_tl.readout.bundle import load_readout as load_readout

_PUBLIC = {
    "AmygdalaError": "errors",
    "capture": "pipeline.capture",
    "export_readout": "readout.bundle",
    "extract_corpus": "pipeline.extract",
    "fit": "pipeline.fit",
    "load_model": "lens.model",
    "load_readout": "readout.bundle",
    "read_corpus": "corpus.io",
    "read_training_data": "corpus.folders",
    "readout_client": "live.client",
    "score_texts": "pipeline.score",
    "write_corpus": "corpus.io",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
