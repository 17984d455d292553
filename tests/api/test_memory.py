"""What a fit in parts holds in memory does not grow with the corpus."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from pathlib import Path
import torch
from amygdala_tl import fit
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.records import CaptureSettings, CorpusText, ModelInfo

torch.set_num_threads(1)
n_texts, layers, d_model = int(sys.argv[2]), 2, 256
info = ModelInfo("m", None, "f", "A", "HookedTransformer", {}, "float32", layers, d_model, 64)
store = ActivationStore.for_model(Path(sys.argv[1]) / str(n_texts), info, CaptureSettings())
generator = torch.Generator().manual_seed(0)
texts = []
for start in range(0, n_texts, 500):
    ids = [f"{index:064x}" for index in range(start, start + 500)]
    values = torch.randn(500, layers, d_model, generator=generator)
    values[::2] += 0.1
    positions = {p: values.clone() for p in ("pooled", "last", "last-content")}
    counts = torch.full((500, layers), 1, dtype=torch.int32)
    store.add(ids, range(layers), Pooled(positions, counts, torch.arange(500).int(), values.clone()), 1.0)
    for row, name in enumerate(ids):
        labels = (("joy",), ()) if row % 2 == 0 else ((), ("joy",))
        texts.append(CorpusText(name, name, name[-3:], "train", {"joy": 9.0}, *labels))
corpus = Corpus(("joy",), tuple(texts), {}, {}, {}, "s")



def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


before = peak()
result = fit(corpus, store, aggregator=sys.argv[3], read_position="pooled")
assert result.text_calibration.n == n_texts
print(peak() - before)
"""


def growth(tmp_path, n_texts, aggregator):
    """Kilobytes by which the peak memory of a process grew in a fit."""
    arguments = [sys.executable, "-c", CODE, str(tmp_path), str(n_texts), aggregator]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process's peak memory")
def test_thirty_times_the_texts_do_not_need_more_memory_to_fit_in_parts_but_to_fit_at_once(tmp_path):
    all_activations = 30_000 * 2 * 256 * 4 // 1024
    assert growth(tmp_path, 30_000, "whitened") < growth(tmp_path, 1_000, "whitened") + all_activations / 2
    assert growth(tmp_path, 30_000, "linear") > growth(tmp_path, 1_000, "linear") + all_activations
