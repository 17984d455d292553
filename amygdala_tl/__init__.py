"""amygdala-tl: readout vectors from a model's own notes.

    import amygdala_tl as at

    lens = at.wrap(model)
    corpus = at.Corpus.from_texts(texts, labels, groups=days)
    readout = at.train(corpus, lens, layers="auto")
    readout.save("readout.safetensors")
    at.score(["The tide came in."], readout, lens)

Names are imported on first use, so that `import amygdala_tl` costs nothing.
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.api.capture import capture
    from amygdala_tl.api.compare import compare
    from amygdala_tl.api.control_vector import control_vector
    from amygdala_tl.api.cross_talk import cross_talk
    from amygdala_tl.api.evaluate import evaluate
    from amygdala_tl.api.export import export
    from amygdala_tl.api.extract import extract
    from amygdala_tl.api.fit import fit
    from amygdala_tl.api.fit_eraser import fit_eraser
    from amygdala_tl.api.judge import judge
    from amygdala_tl.api.load_ray import load_ray
    from amygdala_tl.api.load_vllm import load_vllm
    from amygdala_tl.api.push import push
    from amygdala_tl.api.score import score, score_tokens
    from amygdala_tl.api.steer import steer
    from amygdala_tl.api.suggest_words import suggest_words
    from amygdala_tl.api.thresholds import thresholds
    from amygdala_tl.api.train import train
    from amygdala_tl.api.verify import verify
    from amygdala_tl.corpus.io import read_corpus, write_corpus
    from amygdala_tl.corpus.loader import read_training_data
    from amygdala_tl.corpus.record import Corpus
    from amygdala_tl.errors import AmygdalaError
    from amygdala_tl.lens.model import load_model
    from amygdala_tl.lens.wrap import wrap
    from amygdala_tl.live.client import readout_client
    from amygdala_tl.readout.hub import pull
    from amygdala_tl.readout.record import Readout, load_readout
    from amygdala_tl.steering.edits import Ablate, Add, Clamp, Erase
    from amygdala_tl.steering.hooks import intervene

__all__ = [
    "Ablate", "Add", "AmygdalaError", "Clamp", "Corpus", "Erase", "Readout", "capture", "compare", "control_vector", "cross_talk",
    "evaluate", "export", "extract", "fit", "fit_eraser", "intervene", "judge", "load_model", "load_ray", "load_readout",
    "load_vllm", "pull", "push", "read_corpus", "read_training_data", "readout_client", "score", "score_tokens", "steer",
    "suggest_words", "thresholds", "train", "verify", "wrap", "write_corpus",
]  # fmt: skip

__getattr__ = lazily(
    __name__, api__capture="capture", api__compare="compare",
    api__control_vector="control_vector", api__cross_talk="cross_talk",
    api__evaluate="evaluate", api__export="export", api__extract="extract", api__fit="fit", api__fit_eraser="fit_eraser",
    api__judge="judge", api__load_ray="load_ray", api__load_vllm="load_vllm", api__push="push", api__score="score score_tokens",
    api__steer="steer", readout__hub="pull",
    api__suggest_words="suggest_words", api__thresholds="thresholds", api__train="train", api__verify="verify",
    corpus__loader="read_training_data", corpus__io="read_corpus write_corpus", corpus__record="Corpus",
    errors="AmygdalaError", lens__model="load_model", lens__wrap="wrap", live__client="readout_client",
    readout__record="Readout load_readout", steering__edits="Ablate Add Clamp Erase", steering__hooks="intervene",
)  # fmt: skip
