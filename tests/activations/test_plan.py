"""The plan of a capture: the same shards, byte by byte, for one process or two, and for a run that was killed and went on."""

import multiprocessing
from random import Random

import pytest
import torch
from tokenizers import normalizers

from amygdala_tl.activations import plan as planning
from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.engine import PoolingEngine, together
from amygdala_tl.activations.golden import run_golden
from amygdala_tl.activations.plan import PlannedShard, plan_shards, shard_tokens
from amygdala_tl.activations.runner import run_shards
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.lens.wrap import wrap
from amygdala_tl.records import READ_POSITIONS, CaptureSettings, ModelInfo
from tests.lens.made_tokenizers import made
from tests.models import tiny_model

TEXTS = {f"id{at:02}": f"Day {at}: I was {'so ' * (at * 7 % 11)}happy." for at in range(28)}
SOME = dict(list(TEXTS.items())[::3])
BROKEN = {"a": "\u2063", "b": f"It is {'so ' * 6}loud.", "c": "a loud room"}
SETTINGS = CaptureSettings()
LAYERS = [1, 3]


@pytest.fixture(scope="module")
def lens():
    """A model with NaN behind `loud`, and no token for one text."""
    lens = wrap(tiny_model("llama"), made(normalizer=normalizers.Replace("\u2063", "")))
    with torch.no_grad():
        lens.model.W_E[lens.tokenizer(" loud").input_ids[0]] = torch.nan
    return lens


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(planning, "SHARD_TEXTS", 6)


def captured(folder, loaded, texts=TEXTS, **options):
    """The store of some texts at one layer and of all at two; name -> bytes of its files."""
    store = ActivationStore.for_model(folder, loaded.info, SETTINGS)
    capture_texts(loaded, SOME, LAYERS[:1], store)
    capture_texts(loaded, {**texts, **BROKEN}, LAYERS, store, **options)
    return {file.name: file.read_bytes() for file in store.folder.iterdir() if file.name != ".capturing"}


@pytest.fixture(scope="module")
def undisturbed(lens, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SHARD_TEXTS", 6)
        files = captured(tmp_path_factory.mktemp("one"), lens)
    assert sum(name.startswith("shard-") for name in files) == 2 + 2 + 4
    assert sum(name.startswith("left-out-") for name in files) == 3  # before the run, and with two shards
    return files


class Killed(Exception):
    pass


class Engine(PoolingEngine):
    """The model as other engines offer it."""

    on_cpu = True

    def __init__(self, lens):
        self.lens, self.info, self.tokenizer, self.vocabulary = lens, lens.info, lens.tokenizer, lens.vocabulary

    def streams(self, prompts, layers):
        return run_golden(self.lens, prompts, layers)

    def pooled_shards(self, plan, said, batch_size):
        def pool(texts, drawn, layers):
            everything = PlannedShard(tuple(layers), tuple(map(str, range(len(texts)))), tuple(texts), tuple(drawn))
            return (part for _, part in run_shards(self.lens, [everything], said))

        return together(plan, pool)


class TwoProcesses(Engine):
    """Two processes that run shards, and return the last ones first."""

    def pooled_shards(self, plan, said, batch_size):
        global _run

        def _run(number):
            return number, [part for _, part in run_shards(self.lens, [plan[number]], said, batch_size=batch_size)]

        with multiprocessing.get_context("fork").Pool(2) as pool:
            for number, parts in pool.imap_unordered(_run_number, reversed(range(len(plan)))):
                yield from ((number, part) for part in parts)


def _run_number(number):
    return _run(number)


def test_two_processes_write_the_files_of_one_whatever_the_order_of_the_texts(lens, undisturbed, tmp_path):
    assert captured(tmp_path, TwoProcesses(lens), dict(reversed(TEXTS.items()))) == undisturbed


@pytest.mark.parametrize("killed_at", [1, 20])
def test_a_run_that_is_killed_goes_on_where_it_stopped_and_leaves_the_files_of_an_undisturbed_one(
    lens, undisturbed, tmp_path, killed_at
):
    done = []

    def kill(progress):
        done.append(progress.texts_done)
        if progress.texts_done >= killed_at:
            raise Killed

    with pytest.raises(Killed):
        captured(tmp_path, lens, progress=kill)
    left = sum(map(len, ActivationStore.find(tmp_path).missing({**TEXTS, **BROKEN}, LAYERS).values()))
    assert captured(tmp_path, lens) == undisturbed
    assert left <= len(TEXTS) + 2 - (done[-1] - 6)  # no more is lost than the shard that it was in


def test_an_engine_that_runs_texts_of_several_shards_together_gives_the_same_activations(lens, tmp_path):
    captured(tmp_path / "one", lens)
    captured(tmp_path / "other", Engine(lens))
    one, other = (ActivationStore.find(tmp_path / name) for name in ("one", "other"))
    assert one.left_out == other.left_out
    assert sorted(sorted(shard.rows) for shard in one._shards) == sorted(sorted(shard.rows) for shard in other._shards)
    for position in READ_POSITIONS:
        torch.testing.assert_close(*(store.load(list(TEXTS), LAYERS, position) for store in (one, other)))
    for text in TEXTS:
        (ours,), (theirs,) = (list(store.tokens([text], [3])) for store in (one, other))
        torch.testing.assert_close(ours.tokens, theirs.tokens)


def text_of(n_tokens):
    return TokenizedText((1,) * n_tokens, (True,) * n_tokens, 0, ((0, 1),) * n_tokens, False)


@pytest.mark.parametrize("seed", range(20))
def test_a_full_shard_depends_on_no_other(seed):
    random = Random(seed)
    texts = {f"{number}": text_of(random.randint(1, 30)) for number in range(100)}
    whole = [shard.ids for shard in plan_shards(texts, (1,), 1.0, 80)]
    assert {len(ids) == 6 for ids in whole} == {True, False}
    assert all(sum(texts[id].n_tokens for id in ids) < 80 + 30 for ids in whole)
    gone = set(random.sample(whole, len(whole) // 2))
    left = {id: text for id, text in texts.items() if not any(id in ids for ids in gone)}
    assert [shard.ids for shard in plan_shards(left, (1,), 1.0, 80)] == [ids for ids in whole if ids not in gone]


def test_a_shard_is_a_minute_of_work():
    small = ModelInfo("embedded", None, "f", "A", "vLLM", {}, "float32", 30, 576, 2048)
    large = ModelInfo("27B", None, "f", "A", "vLLM", {}, "bfloat16", 64, 5120, 2048)
    assert shard_tokens(small, 20, on_cpu=True) == 35_881  # 34 s at 85% of 205 GFLOP/s, see docs/performance.md
    assert shard_tokens(large, 51, on_cpu=False) == 183_398  # 32 GFLOP each
    assert shard_tokens(large, 51, on_cpu=True) == 1024
