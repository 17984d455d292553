"""The projection in decoder layers, eager and compiled, and what refuses to be hooked or served."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from amygdala_tl.errors import InputError, ModelError, ReadoutError
from amygdala_tl.readout.record import load_readout
from amygdala_tl.routes.rows import Fragment
from amygdala_tl.routes.store import Entry
from amygdala_tl.vllm import mapping
from amygdala_tl.vllm.projection import Projection, raise_failures
from amygdala_tl.vllm.refusals import refuse_engine, refuse_other_size, refuse_server
from amygdala_tl.vllm.responses import Pending, with_pending
from amygdala_tl.vllm.settings import read_settings
from amygdala_tl.vllm.steps import accepted_rows
from tests.vllm.bundles import write_bundle

D = 8


class Deferred(nn.Module):
    """A layer that leaves the last addition to the next one, and, like vLLM's fused norms, adds in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(D, D)

    def forward(self, hidden, residual):
        residual = hidden.clone() if residual is None else residual.add_(hidden)
        return self.linear(residual), residual


class Whole(Deferred):
    """A layer that hands on the stream itself, and its input beside it."""

    def forward(self, hidden, residual):
        return self.linear(hidden) + hidden, hidden


class Stack(nn.Module):
    """Three layers, and the streams behind each of them as plain sums."""

    def __init__(self, kind):
        super().__init__()
        self.layers = nn.ModuleList(kind() for _ in range(3))

    def forward(self, hidden):
        residual = None
        for layer in self.layers:
            hidden, residual = layer(hidden, residual)
        return hidden

    def streams(self, hidden):
        found = []
        for layer in self.layers:
            hidden = hidden + layer.linear(hidden)
            found.append(hidden)
        return found


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The two kinds of layers, in the table."""
    monkeypatch.setitem(mapping.TABLE, "test_projection.Deferred", "sum")
    monkeypatch.setitem(mapping.TABLE, "test_projection.Whole", "first")


@pytest.mark.parametrize("kind", [Deferred, Whole])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_buffers_hold_the_projections_of_every_step(kind, compiled):
    torch.manual_seed(0)
    torch._dynamo.reset()
    stack, vectors = Stack(kind), torch.randn(2, 5, D)
    projection = Projection(list(stack.layers), (0, 2), vectors, rows=16)
    run = torch.compile(stack, backend="aot_eager") if compiled else stack
    for n_tokens in (16, 3, 7):
        hidden = torch.randn(n_tokens, D)
        with torch.no_grad():
            run(hidden.clone())
            streams = torch.stack([stack.streams(hidden)[0], stack.streams(hidden)[2]])
        expected = torch.einsum("ltd,lcd->tlc", streams, vectors)
        torch.testing.assert_close(projection.first(n_tokens), expected, rtol=1e-4, atol=1e-4)


def test_scores_that_were_taken_do_not_change_with_the_next_step():
    stack = Stack(Deferred)
    projection = Projection(list(stack.layers), (1,), torch.randn(1, 5, D), rows=4)
    with torch.no_grad():
        stack(torch.randn(4, D))
        taken = projection.first(4)
        before = taken.clone()
        stack(torch.randn(4, D))
    torch.testing.assert_close(taken, before)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_projection_that_fails_does_not_stop_the_model_and_is_told_once(compiled):
    torch._dynamo.reset()
    stack = Stack(Deferred)
    Projection(list(stack.layers), (0, 2), torch.randn(2, 5, D), rows=4)
    run = torch.compile(stack, backend="aot_eager") if compiled else stack
    hidden = torch.randn(9, D)  # more tokens than rows
    with torch.no_grad():
        torch.testing.assert_close(run(hidden.clone()) + stack.streams(hidden)[1], stack.streams(hidden)[2])
    with pytest.raises(IndexError, match="a step of 9 tokens, and room for 4"):
        raise_failures()
    raise_failures()


def test_the_hooks_are_no_part_of_the_models_state():
    stack = Stack(Deferred)
    before = set(stack.state_dict())
    Projection(list(stack.layers), (0, 1, 2), torch.randn(3, 5, D), rows=4)
    assert set(stack.state_dict()) == before


def test_a_layer_of_unknown_class_is_refused_and_nothing_is_hooked(monkeypatch):
    stack = Stack(Deferred)
    monkeypatch.delitem(mapping.TABLE, "test_projection.Deferred")
    with pytest.raises(ModelError, match="not in the table of conventions"):
        Projection(list(stack.layers), (0, 1), torch.randn(2, 5, D), rows=4)
    assert not any(layer._forward_hooks for layer in stack.layers)


def test_another_size_is_refused(tmp_path):
    readout = load_readout(write_bundle(tmp_path / "r.safetensors", d_model=D, layers=(1, 5)))
    refuse_other_size(readout, model="m", n_layers=6, hidden_size=D)
    for n_layers, hidden_size in ((5, D), (6, D + 1)):
        with pytest.raises(ReadoutError, match="does not fit the served model"):
            refuse_other_size(readout, model="m", n_layers=n_layers, hidden_size=hidden_size)


@pytest.mark.needs_vllm
@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"speculative_config": SimpleNamespace(method="eagle")}, "speculative decoding by eagle"),
        ({"pipeline_parallel_size": 2}, "pipeline parallelism"),
        ({"enable_dbo": True}, "dual batch overlap"),
        ({"runner_type": "pooling"}, "a pooling model"),
    ],
)
def test_a_worker_refuses_an_engine_that_readouts_do_not_support(more, what, tmp_path):
    from amygdala_tl.vllm.worker import hook_model

    said = {"speculative_config": None, "pipeline_parallel_size": 1, "enable_dbo": False, "runner_type": "generate"}
    config = SimpleNamespace(use_v2_model_runner=False, **said | more)
    config.parallel_config = config.model_config = config
    named = {f"VLLM_READOUT_{name}": str(tmp_path / "missing") for name in ("VECTORS", "MANIFEST")}
    with pytest.raises(ModelError, match=f"readouts do not support this yet .*{what}"):
        hook_model(SimpleNamespace(vllm_config=config), read_settings(named), "ipc://nowhere")


@pytest.mark.parametrize(("v2", "what"), [(False, None), (True, "with model runner V2")])
def test_drafts_by_ngram_are_taken_from_model_runner_v1_alone(v2, what):
    config = SimpleNamespace(speculative_config=SimpleNamespace(method="ngram"), use_v2_model_runner=v2)
    config.parallel_config = SimpleNamespace(pipeline_parallel_size=1)
    config.model_config = SimpleNamespace(runner_type="generate")
    with pytest.raises(ModelError, match=what) if what else nullcontext():
        refuse_engine(config)


def test_the_rows_of_drafts_are_kept_as_far_as_the_sampler_accepts_them():
    requests, drafts = (
        [("prompt", 3), ("some", 4), ("all", 3), ("none", 2)],
        {"some": [5] * 3, "all": [5] * 2, "none": [5]},
    )
    sampled = {"none": [7], "some": [5, 7], "all": [5, 5, 7], "prompt": []}
    output = SimpleNamespace(
        sampled_token_ids=list(sampled.values()), req_id_to_index={name: at for at, name in enumerate(sampled)}
    )
    kept, places = accepted_rows(requests, drafts, output)
    assert kept == [("prompt", 3), ("some", 2), ("all", 3), ("none", 1)]
    assert places.tolist() == [0, 1, 2, 3, 4, 7, 8, 9, 10]


def test_several_serving_processes_and_names_that_clients_choose_are_refused():
    for count in (None, 1):
        refuse_server(SimpleNamespace(api_server_count=count), chosen_names=False)
    with pytest.raises(ModelError, match=r"one serving process .*--api-server-count 2"):
        refuse_server(SimpleNamespace(api_server_count=2), chosen_names=False)
    with pytest.raises(ModelError, match="VLLM_DISABLE_REQUEST_ID_RANDOMIZATION"):
        refuse_server(SimpleNamespace(), chosen_names=True)


def test_settings_are_off_by_default_and_never_half_on(tmp_path):
    assert read_settings({}) is None
    assert read_settings({"VLLM_READOUT_VECTORS": ""}) is None
    for name in ("VLLM_READOUT_VECTORS", "VLLM_READOUT_MANIFEST"):
        with pytest.raises(InputError, match="one of the two readout variables"):
            read_settings({name: "x"})


def test_the_manifest_need_not_lie_beside_the_vectors(tmp_path):
    path = write_bundle(tmp_path / "r.safetensors", d_model=D, layers=(1,))
    moved = path.with_suffix(".json").rename(tmp_path / "elsewhere.json")
    settings = read_settings({"VLLM_READOUT_VECTORS": str(path), "VLLM_READOUT_MANIFEST": str(moved)})
    assert settings.load().layers == (1,)


def test_waiting_readouts_ride_on_the_next_chunk_with_text():
    pending = {0: Pending(), 1: Pending()}
    said = [(0, b"[[1.0]]", None), (0, b"", None), (0, b"null", None), (1, b"null", "a LoRA adapter")]
    for number, fragment, reason in said:
        entry = Entry("0_a", "a", 0, [1], reason)
        pending[number].add(SimpleNamespace(readout=Fragment(fragment, fragment), readout_entry=entry))
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    text = {"choices": [{"index": 0, "delta": {"content": "Hé"}, "finish_reason": None}]}
    assert "readout" not in amended(role, pending)["choices"][0]
    assert amended(text, pending)["choices"][0] == {
        **text["choices"][0],
        "readout": [[[1.0]], None],
        "readout_combined": [[[1.0]], None],
    }
    assert amended(text, pending)["choices"][0]["readout"] == []
    other = amended({"choices": [{"index": 1, "delta": {"content": "x"}}]}, pending)["choices"][0]
    assert (other["readout"], other["readout_reason"]) == ([None], "a LoRA adapter")


@pytest.mark.parametrize("chunk", ["data: [DONE]\n\n", ": keep-alive\n\n", ""])
def test_chunks_that_are_no_answers_stay_as_they_are(chunk):
    assert with_pending(chunk, {0: Pending()}) == chunk


def amended(said, pending):
    """A chunk after `with_pending`, parsed."""
    chunk = with_pending(f"data: {json.dumps(said)}\n\n", pending)
    assert chunk.endswith("\n\n")
    return json.loads(chunk.removeprefix("data: "))
