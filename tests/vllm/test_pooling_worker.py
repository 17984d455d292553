"""Pooling in a worker: however vLLM cuts texts into steps, a text is pooled as if it had run at once."""

import random
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from amygdala_tl.activations.pooling import Pooled, TokenBatch, pool_batch
from amygdala_tl.activations.token_sample import draw_tokens
from amygdala_tl.records import READ_POSITIONS
from amygdala_tl.vllm import mapping, pooling_worker
from amygdala_tl.vllm.parcels import Parcel, Wanted, packed, unpacked
from amygdala_tl.vllm.pooling_worker import PoolingWorker

D, LAYERS = 8, (0, 2)


class Deferred(nn.Module):
    """A layer that, like vLLM's, leaves the last addition to the next one, which adds in place."""

    def forward(self, hidden, residual):
        residual = hidden.clone() if residual is None else residual.add_(hidden)
        return 0.5 * residual, residual


class Runner:
    """A model runner whose tokens are rows of `embeddings`, in steps that the caller schedules."""

    def __init__(self, embeddings):
        self.embeddings, self.execute_model_state = embeddings, None
        self.model = nn.ModuleDict({"model": nn.ModuleDict({"layers": nn.ModuleList(Deferred() for _ in range(3))})})
        self.input_batch, self.positions = SimpleNamespace(req_ids=[]), torch.zeros(0)

    def get_model(self):
        return self.model

    def execute_model(self, step):
        self.input_batch.req_ids = list(step.num_scheduled_tokens)
        rows = [self.embeddings[name][start : start + count] for name, (start, count) in step.parts.items()]
        hidden, residual = torch.cat(rows), None
        for layer in self.model["model"]["layers"]:
            hidden, residual = layer(hidden, residual)


class Worker(PoolingWorker):
    """As much of a vLLM worker as pooling needs."""

    def __init__(self, embeddings, rank=0):
        self.rank, self.model_runner = rank, Runner(embeddings)
        config = SimpleNamespace(get_total_num_hidden_layers=lambda: 3)
        self.vllm_config = SimpleNamespace(model_config=config, parallel_config=SimpleNamespace(tensor_parallel_size=2))
        self.begun = {}

    def step(self, wanted, parts, finished=()):
        """Run some tokens of some texts: name -> (position of the first, number)."""
        new = [
            SimpleNamespace(req_id=name, num_computed_tokens=start, sampling_params=SimpleNamespace(extra_args=said))
            for name, (start, _) in parts.items()
            if (said := None if name in self.begun else wanted[name].extra_args()) is not None
        ]
        old = [name for name in parts if name in self.begun]
        self.begun |= dict.fromkeys(parts)
        self.model_runner.execute_model(
            SimpleNamespace(
                parts=parts,
                num_scheduled_tokens={name: count for name, (_, count) in parts.items()},
                total_num_scheduled_tokens=sum(count for _, count in parts.values()),
                scheduled_new_reqs=new,
                scheduled_cached_reqs=SimpleNamespace(
                    req_ids=old, num_computed_tokens=[parts[name][0] for name in old]
                ),
                finished_req_ids=set(finished),
            )
        )


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The layer's class, in the table."""
    monkeypatch.setitem(mapping.TABLE, "test_pooling_worker.Deferred", "sum")


@pytest.fixture
def texts():
    """Texts with a template before them or without one, their prompts, and a token in each that dwarfs the others."""
    torch.manual_seed(0)
    embeddings, wanted = {}, {}
    for number, (before, own) in enumerate([(4, 9), (0, 12), (4, 1), (0, 1), (2, 30), (0, 7)]):
        name, content = f"r{number}", bytes([0] * before + [1] * own)
        embeddings[name] = torch.randn(before + own, D)
        embeddings[name][before + own // 2] *= 1000.0
        drawn = tuple(draw_tokens(name, list(map(bool, content)), 5.0))
        wanted[name] = Wanted(number, content, before + own // 3, drawn)
    return embeddings, wanted


def at_once(embeddings, wanted):
    """What `pool_batch` gives for one whole text with its template."""
    hidden, residual, streams = embeddings[None], None, []
    for _ in range(3):
        residual = hidden.clone() if residual is None else residual + hidden
        hidden = 0.5 * residual
        streams.append(hidden + residual)
    content = torch.tensor([list(wanted.content)]).bool()
    places = (0, len(wanted.content) - 1, wanted.last_content)  # the first, the last and the last with a letter
    batch = TokenBatch(
        torch.zeros(content.shape, dtype=torch.long), content, *map(torch.tensor, ([at] for at in places))
    )
    return pool_batch(torch.stack([streams[layer] for layer in LAYERS], dim=2), batch, [wanted.drawn], components=2)


def assert_pooled(parcels, embeddings, wanted):
    """Each text has come once, and as if it had run at once."""
    numbers = [number for parcel in parcels for number in parcel.numbers]
    assert sorted(numbers) == sorted(each.number for each in wanted.values())
    found = Pooled.joined([parcel.pooled for parcel in parcels if parcel.pooled is not None])
    expected = Pooled.joined([at_once(embeddings[f"r{number}"], wanted[f"r{number}"]) for number in numbers])
    for position in READ_POSITIONS:
        torch.testing.assert_close(found.positions[position], expected.positions[position])
    assert found.token_counts.equal(expected.token_counts)
    assert found.token_rows.equal(expected.token_rows)
    torch.testing.assert_close(found.token_sample, expected.token_sample, equal_nan=True)
    torch.testing.assert_close(found.token_spread.abs(), expected.token_spread.abs(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("budget", [3, 10, 1000])
def test_texts_cut_into_steps_are_pooled_as_if_they_had_run_at_once(texts, budget):
    embeddings, wanted = texts
    worker, done, parcels = Worker(embeddings), dict.fromkeys(wanted, 0), []
    worker.pool_texts(list(LAYERS), 2)
    order = random.Random(budget)
    while left := [name for name in wanted if done[name] < len(wanted[name].content)]:
        order.shuffle(left)  # vLLM reorders its batch
        parts, room = {}, budget
        for name in left:
            if count := min(room, len(wanted[name].content) - done[name]):
                parts[name] = (done[name], count)
                done[name], room = done[name] + count, room - count
        worker.step(wanted, parts)
        parcels.append(unpacked(worker.take_pooled()))
    assert_pooled(parcels, embeddings, wanted)
    assert not unpacked(worker.take_pooled()).numbers


def test_texts_of_similar_length_are_pooled_a_few_rows_at_a_time(texts, monkeypatch):
    embeddings, wanted = texts
    sizes = []

    def counted(residuals, *arguments, **options):
        sizes.append(residuals.shape[:2].numel())
        return pool_batch(residuals, *arguments, **options)

    monkeypatch.setattr(pooling_worker, "_ROWS", 24)
    monkeypatch.setattr(pooling_worker, "pool_batch", counted)
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 2)
    worker.step(wanted, {name: (0, len(each.content)) for name, each in wanted.items()})
    assert_pooled([unpacked(worker.take_pooled())], embeddings, wanted)
    assert sizes == [30, 2 * 12, 3 * 7]


def test_an_aborted_text_leaves_nothing_and_a_resumed_one_keeps_what_has_run(texts):
    embeddings, wanted = texts
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 2)
    worker.step(wanted, {"r4": (0, 10), "r1": (0, 5)})
    worker.begun.clear()  # both come as new requests
    embeddings["r4"] = embeddings["r4"] + 1.0
    worker.step(wanted, {"r4": (0, 32), "r1": (5, 7)}, finished=["r4"])
    assert_pooled([unpacked(worker.take_pooled())], embeddings, {name: wanted[name] for name in ("r1", "r4")})


def test_only_the_positions_that_are_asked_for_come_back(texts):
    embeddings, wanted = texts
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 0, ["last"])
    worker.step(wanted, {"r1": (0, 12)})
    assert unpacked(worker.take_pooled()).pooled.positions.keys() == {"last"}


def test_a_parcel_holds_any_number_of_a_text():
    assert unpacked(packed(Parcel([300], None, {}, [1 << 40]))) == Parcel([300], None, {}, [1 << 40])


def test_a_preempted_text_begins_again_and_counts_once(texts):
    embeddings, wanted = texts
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 2)
    for part in ((0, 10), (0, 5), (5, 20), (25, 7)):
        worker.step(wanted, {"r4": part})
    assert_pooled([unpacked(worker.take_pooled())], embeddings, {"r4": wanted["r4"]})


def test_the_template_may_come_from_the_cache_and_the_text_may_not(texts):
    embeddings, wanted = texts
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 2)
    worker.step(wanted, {"r0": (4, 9), "r4": (5, 27), "r1": (3, 4)})
    worker.step(wanted, {"r1": (7, 5)}, finished=["r0", "r4"])
    assert_pooled([unpacked(worker.take_pooled())], embeddings, {"r0": wanted["r0"]})


@pytest.mark.parametrize(("broken", "row"), [("r1", 3), ("r5", -1)])  # pads are the last row of a step
def test_a_text_that_is_not_finite_is_named_and_spoils_no_other(texts, broken, row):
    embeddings, wanted = texts
    embeddings[broken][row, 0] = torch.nan
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 2)
    worker.step(wanted, {name: (0, len(each.content)) for name, each in wanted.items()})
    parcel = unpacked(worker.take_pooled())
    assert parcel.broken == [wanted[broken].number]
    assert_pooled([parcel], embeddings, {name: each for name, each in wanted.items() if name != broken})


def test_whole_prompts_come_back_token_by_token_across_steps(texts):
    embeddings, _ = texts
    wanted = {"r4": Wanted(0, bytes([1] * 32), whole=True)}
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 0)
    worker.step(wanted, {"r4": (0, 20)})
    worker.step(wanted, {"r4": (20, 12)})
    rows = unpacked(worker.take_pooled()).whole[0]
    torch.testing.assert_close(rows[:, 0], 1.5 * embeddings["r4"])


def test_a_request_of_somebody_else_is_left_alone_and_only_a_groups_first_worker_pools(texts):
    embeddings, wanted = texts
    first, second = Worker(embeddings), Worker(embeddings, rank=1)
    for worker in (first, second):
        worker.pool_texts(list(LAYERS), 2)
        worker.begun = {"r0": None}  # it has no `Wanted`
        worker.step(wanted, {"r0": (0, 13), "r1": (0, 12)})
    assert second.take_pooled() is None
    assert_pooled([unpacked(first.take_pooled())], embeddings, {"r1": wanted["r1"]})


def test_a_failure_in_a_step_is_raised_when_the_texts_are_taken(texts):
    embeddings, wanted = texts
    worker = Worker(embeddings)
    worker.pool_texts(list(LAYERS), 2)
    wanted["r0"] = SimpleNamespace(extra_args=lambda: {"amygdala_tl": {"unknown": 1}})
    worker.step(wanted, {"r0": (0, 13)})
    worker.step(wanted, {"r1": (0, 12)})
    with pytest.raises(TypeError, match="unknown"):
        worker.take_pooled()


def test_hooks_come_off(texts):
    embeddings, wanted = texts
    worker = Worker(embeddings)
    for _ in range(2):
        worker.pool_texts(list(LAYERS), 2)
    worker.stop_pooling()
    worker.step(wanted, {"r1": (0, 12)})
    assert worker.take_pooled() is None
    assert "execute_model" not in vars(worker.model_runner)
    assert not any(layer._forward_hooks for layer in worker.model_runner.model["model"]["layers"])
