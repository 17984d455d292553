"""A model gives the same with its layers on several devices as on one. `simulated_devices` makes the devices."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl.errors import InputError, ModelError
from amygdala_tl.lens.checkpoints import load_checkpoint
from amygdala_tl.lens.devices import devices_of
from amygdala_tl.lens.generation import generate
from amygdala_tl.lens.hugging_face import decoder_layers
from amygdala_tl.lens.model import lens_of, load_model
from amygdala_tl.lens.prefix import share_prefix
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.upper import head, run_above
from amygdala_tl.lens.weights import unembedding
from amygdala_tl.lens.wrap import wrap
from amygdala_tl.steering import Ablate, intervene
from tests.lens.simulated_devices import SimulatedDevices
from tests.lens.test_residuals import worst_relative
from tests.models import VOCABULARY

LAYERS = [0, 1, 3]
TOKENS = torch.randint(3, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module", params=["llama", "qwen3_5_text"])
def loaded(request, tiny_checkpoint):
    """The same model on the CPU and over two devices."""
    folder = str(tiny_checkpoint(request.param))
    checkpoint = load_checkpoint(folder, torch.float32)
    one = load_model(folder, "float32", "cpu")
    with SimulatedDevices():
        return one, lens_of(checkpoint, devices_of("cuda:0", 2))


@pytest.fixture
def pair(loaded):
    with SimulatedDevices():
        yield loaded


def test_layers_on_two_devices_give_the_same_stream_logits_tokens_and_edits(pair):
    one, two = pair
    assert two.info.engine == "TransformerBridge"
    assert two.plain is not None
    assert {str(weight.device) for weight in two.model.parameters()} == {"cuda:0", "cuda:1"}
    assert two.info.key == one.info.key
    expected = run_resid_post(one.model, TOKENS, LAYERS)
    found = run_resid_post(two.model, TOKENS, LAYERS).cpu()
    assert worst_relative(found, expected) < 1e-5
    above = run_above(two, found[:, :, 1].to("cuda:0"), 1, [1, 3]).cpu()
    assert worst_relative(above, expected[:, :, 1:]) < 1e-5
    some = torch.tensor([5, 9])
    for vocabulary in (None, some):
        logits = head(two, run_resid_post(two.model, TOKENS, [3])[:, :, 0], vocabulary).cpu()
        torch.testing.assert_close(logits, head(one, expected[:, :, -1], vocabulary), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(unembedding(two).gain, unembedding(one).gain, rtol=1e-5, atol=1e-5)
    direction = torch.nn.functional.normalize(torch.ones(64), dim=0)
    edited = []
    for lens in pair:
        with intervene(lens, {2: Ablate(direction)}):
            edited.append((run_resid_post(lens.model, TOKENS, [3]).cpu(), generate(lens, TOKENS, 3).cpu()))
    assert worst_relative(edited[1][0], edited[0][0]) < 1e-5
    assert torch.equal(edited[1][1], edited[0][1])
    assert worst_relative(edited[1][0][:, :, 0], expected[:, :, -1]) > 1e-3


def test_a_prefix_is_shared_on_the_devices_of_its_layers(pair):
    one, two = pair
    prefix = list(range(100, 120))
    shared = share_prefix(two.model, prefix, LAYERS, "two")
    assert shared is not None
    whole = torch.cat([torch.tensor(prefix).expand(3, -1), TOKENS], dim=1)
    found = run_resid_post(two.model, TOKENS, LAYERS, behind=shared).cpu()
    assert worst_relative(found, run_resid_post(one.model, whole, LAYERS)[:, len(prefix) :]) < 1e-5


def test_a_hook_inside_a_layer_of_the_second_device_fires_there(pair):
    seen = []
    for lens in pair:
        point = lens.model.blocks[3].mlp.hook_out
        handle = point.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        run_resid_post(lens.model, TOKENS, [3])
        handle.remove()
    assert str(seen[1].device) == "cuda:1"
    assert worst_relative(seen[1].cpu(), seen[0]) < 1e-5


def test_a_model_that_accelerate_has_split_is_wrapped_where_it_is(tiny_checkpoint):
    from accelerate import dispatch_model

    folder = tiny_checkpoint("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    expected = run_resid_post(wrap(copy.deepcopy(model), AutoTokenizer.from_pretrained(folder)).model, TOKENS, LAYERS)
    places = {"model.embed_tokens": "cuda:1", "model.norm": "cuda:0", "model.rotary_emb": "cuda:1", "lm_head": "cuda:0"}
    places |= {f"model.layers.{layer}": f"cuda:{int(layer in (0, 2))}" for layer in range(4)}
    with SimulatedDevices():
        dispatch_model(model, places, main_device="cuda:1", skip_keys=model._skip_keys_device_placement)
        lens = wrap(model, AutoTokenizer.from_pretrained(folder))
        where = [str(next(layer.parameters()).device) for layer in decoder_layers(lens.plain.model)]
        assert where == ["cuda:1", "cuda:0", "cuda:1", "cuda:0"]
        assert worst_relative(run_resid_post(lens.model, TOKENS, LAYERS).cpu(), expected) < 1e-5


def test_devices_that_do_not_exist_are_counted(tiny_checkpoint):
    folder = str(tiny_checkpoint("llama"))
    for device in (None, "cpu"):
        with pytest.raises(InputError, match=r"devices do not exist.*0 CUDA devices.*2 from cuda:0 on.*n_devices"):
            load_model(folder, device=device, n_devices=2)
    with SimulatedDevices(), pytest.raises(InputError, match=r"2 CUDA devices.*2 from cuda:1 on"):
        devices_of("cuda:1", 2)


def test_weights_on_the_disk_are_refused(tiny_checkpoint, tmp_path):
    places = {"model": "cpu", "lm_head": "disk"}
    folder = tiny_checkpoint("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, device_map=places, offload_folder=tmp_path)
    with pytest.raises(ModelError, match=r"weights are offloaded.*device_map"):
        wrap(model, AutoTokenizer.from_pretrained(folder))
