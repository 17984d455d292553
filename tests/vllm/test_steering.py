"""Edits in decoder layers, eager and compiled, and what a request's parameters carry."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
import torch

from amygdala_tl.errors import InputError, ModelError, ReadoutError
from amygdala_tl.readout.erasing import Erasing
from amygdala_tl.readout.record import load_readout
from amygdala_tl.routes.steer import Steer
from amygdala_tl.serve.steers import edits_of as edits_of_serve
from amygdala_tl.steering.hooks import apply_all
from amygdala_tl.vllm.edits import MOST_EDITS, edits_in, edits_of, put, salted, vectors_of
from amygdala_tl.vllm.projection import Projection
from amygdala_tl.vllm.refusals import refuse_to_steer
from amygdala_tl.vllm.steering import Steering
from amygdala_tl.vllm.steers import Steers
from tests.vllm.bundles import write_bundle
from tests.vllm.test_projection import D, Deferred, Stack, Whole, known  # noqa: F401

LAYERS = (0, 2)
UNITS = (2.0, 5.0)
JOINT = (Steer("awe", 0, 0.5), Steer("calm", 0, 0.3, "clamp"), Steer("grief", 2, kind="erase"), Steer("grief", 2, -1.0))
"""Several edits of one layer, which do not commute, and of two layers."""
COUNTS, BEGIN = (4, 3, 2), (True, False, False)
"""Three requests in a step; the first one begins in it."""


@pytest.fixture
def readout(tmp_path):
    return load_readout(write_bundle(tmp_path / "r.safetensors", d_model=D, layers=LAYERS))


@pytest.fixture
def erasing(readout):
    """The readout with erasures of random vectors."""
    read, write = torch.nn.functional.normalize(torch.randn(2, *readout.vectors.shape), dim=-1)
    write = torch.nn.functional.normalize(write + 2 * read, dim=-1)
    return replace(readout, erasing=Erasing(read, write, torch.randn(len(LAYERS), D)))


def expected(stack, hidden, positions, steers, readout):
    """Edited streams [layer, token, d_model] of one request, layer by layer, with the edits that `serve` makes of it."""
    edits, found = edits_of_serve(steers, readout, dict(zip(LAYERS, UNITS, strict=True))), []
    for index, layer in enumerate(stack.layers):
        hidden = hidden + layer.linear(hidden)
        if index in LAYERS:
            hidden = apply_all(edits.get(index, []), hidden[None], positions[None])[0]
            found.append(hidden)
    return torch.stack(found)


@pytest.mark.parametrize("kind", [Deferred, Whole])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_each_row_gets_its_own_requests_edits_and_the_others_stay_to_the_bit(erasing, kind, compiled):
    readout = erasing
    torch.manual_seed(0)
    torch._dynamo.reset()
    stack = Stack(kind)
    bare = Stack(kind)
    bare.load_state_dict(stack.state_dict())
    steering = Steering(list(stack.layers), LAYERS, vectors_of(readout), rows=16, requests=3)
    projection = Projection(list(stack.layers), LAYERS, readout.vectors, rows=16)
    run = torch.compile(stack, backend="aot_eager") if compiled else stack
    hidden, n_tokens = torch.randn(sum(COUNTS), D), sum(COUNTS)
    parts = hidden.split(COUNTS)
    places = [torch.arange(count) + (0 if first else 7) for count, first in zip(COUNTS, BEGIN, strict=True)]
    alone = (Steer("calm", 2, 1.0),)
    with torch.no_grad():
        plain = bare(hidden.clone())
        for steers in [(JOINT, (), alone), ((), (), ()), ((), alone, JOINT), ((), (), ())]:
            edits = [edits_of(each, readout, UNITS) for each in steers]
            steering.fill(edits, COUNTS, BEGIN)
            found = run(hidden.clone()).split(COUNTS)
            scores = projection.first(n_tokens).split(COUNTS)
            for part, place, said, last, score, before in zip(
                parts, places, steers, found, scores, plain.split(COUNTS), strict=True
            ):
                streams = expected(bare, part, place, said, readout)
                wanted = torch.einsum("ltd,lcd->tlc", streams, readout.vectors)
                torch.testing.assert_close(score, wanted, rtol=1e-4, atol=1e-4)
                if not said:
                    assert torch.equal(last, before)
    torch._dynamo.reset()


def test_parameters_carry_edits_and_nothing_else(readout):
    shape, edits = vectors_of(readout).shape, edits_of(JOINT, readout, UNITS)
    args = {"other": 1}
    put(edits, args)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(args))
    assert edits_in(SimpleNamespace(extra_args=sent), shape) == edits
    assert edits_in(SimpleNamespace(extra_args=None), shape) == edits_in(None, shape) == []
    for wrong in (
        "x",
        [1],
        [[0, 6, 0, 1, 0]],
        [[0, 0, 6, 1, 0]],
        [[2, 0, 0, 1, 0]],
        [[0, 0, 0, -1, 0]],
        [[0, 0, 0, 1, 1e31]],
        [[0, -1, 0, 0, 1]],
    ):
        sent = {name: wrong if name != "other" else 1 for name in args}
        with pytest.raises(InputError):
            edits_in(SimpleNamespace(extra_args=sent), shape)


def test_what_the_readout_does_not_have_is_refused(readout, tmp_path):
    for steer in (Steer("envy", 0), Steer("awe", 1)):
        with pytest.raises(InputError):
            edits_of([steer], readout, UNITS)
    edits_of([Steer("awe", 0)] * MOST_EDITS + [Steer("awe", 2)], readout, UNITS)
    with pytest.raises(InputError, match="too many edits of one layer"):
        edits_of([Steer("awe", 0)] * (MOST_EDITS + 1), readout, UNITS)


def test_additions_take_write_vectors_and_are_refused_without_their_file(readout):
    writing = torch.eye(D)[None, :3].repeat(2, 1, 1)
    other = replace(readout, write_vectors=writing)
    (added,) = edits_of([Steer("calm", 2, 1.0)], other, UNITS)
    torch.testing.assert_close(vectors_of(other)[added.column, added.write], writing[1, 1])
    lost = replace(readout, provenance=replace(readout.provenance, writer="difference"))
    for kind in ("add", "erase"):
        with pytest.raises(ReadoutError, match="missing"):
            edits_of([Steer("calm", 2, 1.0, kind)], lost, UNITS)
    assert len(edits_of([Steer("calm", 2, 1.0, "clamp")], lost, UNITS)) == 1


def test_a_bundle_without_erasures_projects_out_the_direction_that_reads(readout, erasing):
    steers, norms, stream = (
        [Steer("calm", 2, kind="erase")],
        dict(zip(LAYERS, UNITS, strict=True)),
        torch.randn(1, 5, D),
    )
    (projects,), (erases,) = edits_of(steers, readout, UNITS), edits_of(steers, erasing, UNITS)
    assert (projects.keep, projects.amount) == (1, 0)
    torch.testing.assert_close(vectors_of(readout)[1, projects.write], readout.direction("calm", 2))
    assert erases != projects
    places, removed = torch.arange(1, 6)[None], {}
    for name, each in {"projects": readout, "erases": erasing}.items():
        after = apply_all(edits_of_serve(steers, each, norms)[2], stream, places)
        removed[name] = ((after - stream)[0] @ readout.direction("calm", 2)).abs()
    torch.testing.assert_close(removed["projects"], (stream[0] @ readout.direction("calm", 2)).abs())
    assert not torch.allclose(removed["erases"], removed["projects"])


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"tensor_parallel_size": 2}, "tensor parallelism"),
        ({"data_parallel_size": 2}, "data parallelism"),
        ({"v2": True}, "VLLM_USE_V2_MODEL_RUNNER=0"),
        ({"drafts": "ngram"}, "speculative decoding"),
        ({}, None),
    ],
)
def test_setups_that_steering_does_not_support_are_refused(more, what):
    said = {"tensor_parallel_size": 1, "data_parallel_size": 1, "v2": False, "drafts": None} | more
    parallel, drafts = SimpleNamespace(**said), said["drafts"]
    config = SimpleNamespace(parallel_config=parallel, use_v2_model_runner=said["v2"], speculative_config=drafts)
    with pytest.raises(ModelError, match=what) if what else nullcontext():
        refuse_to_steer(config)


def test_requests_share_a_cache_only_with_the_same_edits_and_salt(readout):
    salts = [
        salted(edits_of(steers, readout, UNITS), salt, vectors)
        for steers in (JOINT, JOINT[:1], JOINT[::-1], (Steer("awe", 0, 0.6),))
        for salt in (None, "mine")
        for vectors in ("a", "b")
    ]
    assert len(set(salts)) == len(salts) == 16
    assert salted(edits_of(JOINT, readout, UNITS), None, "a") == salts[0]


@pytest.mark.needs_vllm
def test_a_steered_request_has_a_cache_of_its_own_and_one_without_scores_is_refused(readout):
    from vllm.exceptions import VLLMValidationError

    args, steers = {}, Steers(readout)
    put(edits_of(JOINT, readout, UNITS), args)
    plain = {
        "lora_request": None,
        "prompt_embeds": None,
        "mm_features": [],
        "prompt_token_ids": [1],
        "resumable": False,
    }
    steered = {"sampling_params": SimpleNamespace(extra_args=args), "cache_salt": None, **plain}
    request = SimpleNamespace(**steered)
    steers.salt(request)
    assert request.cache_salt is not None
    other = SimpleNamespace(**steered | {"sampling_params": None})
    steers.salt(other)
    assert other.cache_salt is None
    with pytest.raises(VLLMValidationError, match="cannot be steered: a LoRA adapter"):
        steers.salt(SimpleNamespace(**steered | {"lora_request": "adapted"}))
