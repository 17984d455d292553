"""An exported control vector does in llama.cpp what `Add` does on TransformerLens, at the same layer and dose."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import amygdala_tl as at
from amygdala_tl.activations import pool_texts
from amygdala_tl.lens.embedded import embedded_gguf
from amygdala_tl.readout.control_vector import control_vector_bytes
from amygdala_tl.records import CaptureSettings
from tests.llama_cpp import LlamaCpp, llama_library, written_gguf

TEXT = "The letter came this morning, and when I read it I felt"
GLAD = ["What a wonderful, happy day!", "We laughed and danced with joy."]
SAD = ["What a terrible, sad day.", "We wept and grieved in sorrow."]
LAYERS = (10, 14, 18)
DOSE = 0.2


@pytest.fixture(scope="module")
def library():
    return llama_library()


class Pair:
    """One model in TransformerLens and in llama.cpp, and what each says of some tokens without steering."""

    def __init__(self, lens, llama, ids):
        self.lens, self.llama, self.ids = lens, llama, ids
        self.plain_ours, self.plain_theirs = self._ours({}), llama.logits(ids)
        self.difference = float((self.plain_ours - self.plain_theirs).std())

    def _ours(self, edits):
        with at.intervene(self.lens, edits), torch.no_grad():
            return self.lens.model(torch.tensor([self.ids]))[0, -1].float()

    def ours(self, edits):
        """Change of the logits by edits of ours."""
        return self._ours(edits) - self.plain_ours

    def theirs(self, control):
        """Change of the logits by a control vector [layer from 1, d_model]."""
        return self.llama.logits(self.ids, control, self.lens.info.d_model) - self.plain_theirs

    def at_layer(self, vector, layer):
        """A control vector with this vector at one layer."""
        control = np.zeros((self.llama.n_layers - 1, self.lens.info.d_model), dtype=np.float32)
        control[layer - 1] = vector
        return control


@pytest.fixture(scope="module")
def small(tiny, tiny_checkpoint, library, tmp_path_factory):
    """The tiny model, with the same float32 weights in both."""
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint("llama"))
    file = written_gguf(model, tmp_path_factory.mktemp("gguf") / "tiny.gguf")
    ids = torch.randint(3, 4000, (20,), generator=torch.Generator().manual_seed(1)).tolist()
    return Pair(tiny, LlamaCpp(library, file), ids)


def a_readout(lens, layers, seed=2):
    """A readout of random directions of `joy`."""
    generator = torch.Generator().manual_seed(seed)
    return at.Readout.from_directions(
        {"joy": {layer: torch.randn(lens.info.d_model, generator=generator) for layer in layers}}
    )


def test_direction_i_is_added_after_layer_i_and_no_other(small, tmp_path):
    readout = a_readout(small.lens, (1, 2, 3))
    file = at.export(readout, tmp_path / "joy.gguf", small.lens)
    loaded = small.llama.control_vector(file, DOSE).reshape(-1, small.lens.info.d_model)
    assert small.difference < 0.01 * float(small.plain_ours.std())
    for layer in readout.layers:
        ours = small.ours({layer: at.Add(readout.direction("joy", layer), dose=DOSE)})
        for place in readout.layers:
            theirs = small.theirs(small.at_layer(loaded[layer - 1], place))
            error = float((theirs - ours).norm() / ours.norm())
            assert error < 0.02 if place == layer else error > 0.3, (layer, place, error)


def test_llama_cpp_has_no_place_for_layer_0(small, tmp_path):
    (tmp_path / "first.gguf").write_bytes(control_vector_bytes({0: np.ones(64, np.float32)}, "llama"))
    assert small.llama.control_vector(tmp_path / "first.gguf", 1.0).size == 0
    with pytest.raises(at.AmygdalaError, match="cannot steer layer 0"):
        at.export(a_readout(small.lens, (0,)), tmp_path / "none.gguf", small.lens)
    with pytest.warns(UserWarning, match="layer 0"):
        file = at.export(a_readout(small.lens, (0, 2)), tmp_path / "second.gguf", small.lens)
    loaded = small.llama.control_vector(file, 1.0).reshape(-1, 64)
    assert [bool(row.any()) for row in loaded] == [False, True]


@pytest.fixture(scope="module")
def real(embedded, library):
    """The embedded model: its 4-bit file in llama.cpp, and the same weights in float32 here."""
    return Pair(embedded, LlamaCpp(library, embedded_gguf()), embedded.tokenizer(TEXT).input_ids)


@pytest.fixture(scope="module")
def steering(real, tmp_path_factory):
    """A readout of joy from a few texts, and what llama.cpp loads of its control vector, [layer from 1, d_model]."""
    activations, _ = pool_texts(real.lens, [*GLAD, *SAD], LAYERS, "pooled", CaptureSettings())
    difference = activations[:2].mean(dim=0) - activations[2:].mean(dim=0)
    readout = at.Readout.from_directions({"joy": dict(zip(LAYERS, difference, strict=True))})
    file = at.export(readout, tmp_path_factory.mktemp("gguf") / "joy.gguf", real.lens)
    return readout, real.llama.control_vector(file, DOSE).reshape(-1, real.lens.info.d_model)


def test_the_embedded_model_changes_as_here_when_all_layers_are_steered(real, steering):
    readout, loaded = steering
    ours = real.ours({layer: at.Add(readout.direction("joy", layer), dose=DOSE) for layer in LAYERS})
    theirs = real.theirs(loaded)
    # Two quantised runs differ from two exact ones by their noise alone; each has some.
    assert float((theirs - ours).std()) < 2 * real.difference < 0.2 * float(ours.std())


def test_the_embedded_model_tells_a_layer_from_its_neighbours(real, steering):
    readout, loaded = steering
    ours = real.ours({14: at.Add(readout.direction("joy", 14), dose=DOSE)})
    errors = {
        layer: float((real.theirs(real.at_layer(loaded[14 - 1], layer)) - ours).std()) / real.difference
        for layer in (13, 14, 15)
    }
    assert errors[14] < 2 < 3 < min(errors[13], errors[15])
