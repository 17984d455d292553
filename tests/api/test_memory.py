"""What a fit in parts holds in memory does not grow with the corpus."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
import sys
from pathlib import Path
import torch
from amygdala_tl import fit
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.records import CaptureSettings, CorpusText, ModelInfo

torch.set_num_threads(1)
layers, d_model = 2, 512
info = ModelInfo("m", None, "f", "A", "HookedTransformer", {}, "float32", layers, d_model, 64)


def filled(n_texts, folder):
    store = ActivationStore.for_model(Path(folder), info, CaptureSettings())
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
    return store, Corpus(("joy",), tuple(texts), {}, {}, {}, "s")


def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def measure(n_texts, aggregator):
    store, corpus = filled(n_texts, f"{sys.argv[1]}/{n_texts}-{aggregator}")
    before = peak()
    result = fit(corpus, store, aggregator=aggregator, read_position="pooled")
    assert result.text_calibration.n == n_texts
    print(peak() - before, flush=True)


for n_texts in map(int, sys.argv[2:]):
    for aggregator in ("whitened", "linear"):
        pid = os.fork()  # of a process that has done the imports, which take most of the time
        if pid == 0:
            measure(n_texts, aggregator)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process's peak memory")
def test_thirty_times_the_texts_do_not_need_more_memory_to_fit_in_parts_but_to_fit_at_once(tmp_path):
    all_activations = 15_000 * 2 * 512 * 4 // 1024
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), "500", "15000"], capture_output=True, text=True, check=True
    )
    few, few_at_once, many, many_at_once = map(int, done.stdout.split())  # kilobytes by which the peak memory grew
    assert many < few + all_activations  # a part of at most 4,096 texts, and their scores
    assert many_at_once > few_at_once + 3 * all_activations
