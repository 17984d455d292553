"""The store: nothing computed twice, a shard whole or absent, damage named."""

import json
import shutil
import threading

import pytest
import torch

from amygdala_tl.activations.capture import capture_texts
from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.errors import ActivationStoreError
from amygdala_tl.records import READ_POSITIONS, CaptureSettings
from tests.activations.test_shard_index import everything

TEXTS = {f"id{index}": f"Note {index}: the tide came in {'and out ' * index}again." for index in range(12)}
SETTINGS = CaptureSettings()


@pytest.fixture
def counted_tokens(tiny):
    """Real tokens that the model has been run on since the fixture was made."""
    seen = []
    handle = tiny.model.embed.register_forward_pre_hook(lambda _module, args: seen.append(int((args[0] != 0).sum())))
    yield lambda: sum(seen)
    handle.remove()


def store_at(path, tiny, settings=SETTINGS):
    return ActivationStore.for_model(path, tiny.info, settings)


def token_count(store):
    return sum(part.count for part in store.tokens(TEXTS, [1]))


def test_what_is_loaded_is_what_was_pooled(tmp_path, tiny):
    store = store_at(tmp_path, tiny)
    capture_texts(tiny, TEXTS, [0, 2], store)
    for position in READ_POSITIONS:
        direct, counts = pool_texts(tiny, list(TEXTS.values()), [0, 2], position, SETTINGS)
        assert (counts == (store.load_counts(list(TEXTS), [0, 2]) if position == "pooled" else 1)).all()
        for again in (store, store_at(tmp_path, tiny)):
            torch.testing.assert_close(again.load(list(TEXTS), [0, 2], position), direct)
            torch.testing.assert_close(again.load(list(TEXTS)[::-1], [2], position), direct[:, 1:].flip(0))


def test_captured_texts_are_not_run_again_and_new_ones_are(tmp_path, tiny, counted_tokens):
    some = dict(list(TEXTS.items())[:9])
    first = capture_texts(tiny, some, [0, 2], store_at(tmp_path, tiny))
    assert counted_tokens() == first.tokens_run > 0
    fewer = dict(list(some.items())[2:])
    assert capture_texts(tiny, fewer, [0, 2], store_at(tmp_path, tiny)).tokens_run == 0
    assert counted_tokens() == first.tokens_run
    more = capture_texts(tiny, TEXTS, [0, 2], store_at(tmp_path, tiny))
    new = [text for key, text in TEXTS.items() if key not in some]
    assert more.texts_run == len(new)
    assert more.tokens_run == sum(len(tiny.tokenizer(text).input_ids) for text in new)
    assert counted_tokens() == first.tokens_run + more.tokens_run


def test_a_new_layer_is_computed_and_stored_without_the_old_ones(tmp_path, tiny):
    capture_texts(tiny, TEXTS, [0, 2], store_at(tmp_path, tiny))
    before = set(tmp_path.rglob("shard-*"))
    summary = capture_texts(tiny, TEXTS, [0, 1, 2], store_at(tmp_path, tiny))
    assert summary.texts_run == len(TEXTS)
    store = store_at(tmp_path, tiny)
    assert store.layers_of(TEXTS) == (0, 1, 2)
    (new,) = set(tmp_path.rglob("shard-*")) - before
    assert new.stat().st_size < next(iter(before)).stat().st_size
    direct = pool_texts(tiny, list(TEXTS.values()), [0, 1, 2], "pooled", SETTINGS)[0]
    torch.testing.assert_close(store.load(list(TEXTS), [0, 1, 2], "pooled"), direct)


def test_batches_are_the_same_activations_part_by_part(tmp_path, tiny):
    store = store_at(tmp_path, tiny)
    capture_texts(tiny, dict(list(TEXTS.items())[:5]), [0, 2], store)
    capture_texts(tiny, TEXTS, [0, 2], store)
    ids = list(TEXTS)[::-1]
    whole = store.load(ids, [2, 0], "last")
    parts = list(store.batches(ids, [2, 0], "last", size=5))
    assert [len(rows) for rows, _ in parts] == [5, 5, 2]
    assert sorted(row for rows, _ in parts for row in rows) == list(range(12))
    for rows, values in parts:
        torch.testing.assert_close(values, whole[rows])


def test_other_settings_have_a_store_of_their_own(tmp_path, tiny):
    capture_texts(tiny, TEXTS, [0], store_at(tmp_path, tiny))
    other = store_at(tmp_path, tiny, CaptureSettings(chat_template="user"))
    assert other.missing(TEXTS, [0]) == {(0,): list(TEXTS)}


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_damaged_shard_is_named_with_what_to_do(tmp_path, tiny, keep):
    capture_texts(tiny, TEXTS, [0], store_at(tmp_path, tiny))
    (shard,) = tmp_path.rglob("shard-*")
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(ActivationStoreError, match="Delete it"):
        store_at(tmp_path, tiny)


def test_what_was_never_captured_is_an_error_that_says_so(tmp_path, tiny):
    with pytest.raises(ActivationStoreError, match="12 of 12 texts"):
        store_at(tmp_path, tiny).load(list(TEXTS), [0], "pooled")


def test_find_takes_the_only_store_below_and_asks_when_there_are_several(tmp_path, tiny):
    with pytest.raises(ActivationStoreError, match="no activations here"):
        ActivationStore.find(tmp_path)
    one = store_at(tmp_path, tiny)
    assert not one.folder.exists()  # opening writes nothing
    one.describe()
    assert ActivationStore.find(tmp_path).folder == ActivationStore.find(one.folder).folder == one.folder
    assert ActivationStore.find(tmp_path).info == tiny.info
    store_at(tmp_path, tiny, CaptureSettings(chat_template="user")).describe()
    with pytest.raises(ActivationStoreError, match="several"):
        ActivationStore.find(tmp_path)


def test_a_damaged_header_and_description_name_the_place(tmp_path, tiny):
    from safetensors.torch import load_file, save_file

    store = store_at(tmp_path, tiny)
    capture_texts(tiny, TEXTS, [0], store)
    (shard,) = tmp_path.rglob("shard-*")
    tensors = load_file(shard)
    for header, place in (
        ({"ids": "[1]", "layers": "[0]"}, r"`ids` .*`\[0\]`"),
        ({"ids": "[]", "layers": "[true]"}, "`layers`"),
    ):
        save_file(tensors, shard, metadata=header)
        with pytest.raises(ActivationStoreError, match=rf"{place}.*Delete it"):
            store_at(tmp_path, tiny)
    whole = {
        "ids": json.dumps([f"{index}" for index in range(len(tensors["last"]))]),
        "layers": "[0]",
        "tokens_per_text": "32",
    }
    for found, place in (
        ({"last": tensors["last"]}, "no tensor pooled"),
        ({**tensors, "token_counts": tensors["token_counts"][:3]}, r"token_counts of shape \(3, 1\)"),
    ):
        save_file(found, shard, metadata=whole)
        with pytest.raises(ActivationStoreError, match=place):
            store_at(tmp_path, tiny)
    shard.unlink()
    (store.folder / "store.json").write_text('{"model": {"id": "m"}, "settings": {}}')
    with pytest.raises(ActivationStoreError, match=r"store\.json: `revision` is missing at `model`"):
        ActivationStore.find(tmp_path)


@pytest.mark.parametrize("indexed", [True, False])
def test_every_byte_of_a_shard_is_checked_when_it_is_first_read(tmp_path, tiny, indexed):
    capture_texts(tiny, TEXTS, [0], store_at(tmp_path, tiny))
    (shard,) = tmp_path.rglob("shard-*")
    whole = shard.read_bytes()
    for place in (0, 9, 200, 2000, *range(len(whole) // 7, len(whole), len(whole) // 7), len(whole) - 1):
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if not indexed:
            for index in tmp_path.rglob("index.json"):
                index.unlink()
        with pytest.raises(ActivationStoreError, match=rf"{shard.name}.*Delete it"):
            everything(store_at(tmp_path, tiny), list(TEXTS), [0])
    shard.unlink()
    assert capture_texts(tiny, TEXTS, [0], store_at(tmp_path, tiny)).texts_run == len(TEXTS)
    assert shard.read_bytes() == whole


def test_the_same_activations_are_the_same_files(tmp_path, tiny):
    for root in ("one", "other"):
        capture_texts(tiny, TEXTS, [0, 2], store_at(tmp_path / root, tiny))
    (one,), (other,) = ((tmp_path / root).rglob("shard-*") for root in ("one", "other"))
    assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_a_capture_that_began_beside_another_runs_no_text_twice(tmp_path, tiny):
    alone, beside = store_at(tmp_path / "alone", tiny), store_at(tmp_path / "two", tiny)
    capture_texts(tiny, TEXTS, [1], alone)
    some = dict(list(TEXTS.items())[:7])
    capture_texts(tiny, some, [1], store_at(tmp_path / "two", tiny))  # `beside` was opened before this
    assert capture_texts(tiny, TEXTS, [1], beside).texts_run == len(TEXTS) - len(some)
    assert token_count(beside) == token_count(alone)


def test_a_capture_waits_for_one_that_is_running_and_says_so(tmp_path, tiny):
    running, done = threading.Event(), threading.Event()

    def hold():
        with store_at(tmp_path, tiny).capturing():
            running.set()
            done.wait(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    running.wait()
    with pytest.warns(UserWarning, match="another capture is adding"):
        capture_texts(tiny, TEXTS, [1], store_at(tmp_path, tiny))
    assert not thread.is_alive()
    done.set()


def test_two_stores_in_one_folder_count_no_text_twice_in_the_token_calibration(tmp_path, tiny):
    one, other = store_at(tmp_path / "one", tiny), store_at(tmp_path / "other", tiny)
    capture_texts(tiny, TEXTS, [1], one)
    capture_texts(tiny, dict(list(TEXTS.items())[:7]), [1], other)
    for shard in other.folder.glob("shard-*"):
        shutil.copy(shard, one.folder)
    assert token_count(store_at(tmp_path / "one", tiny)) == token_count(one)


def test_a_store_pooled_by_the_rules_of_another_version_is_never_taken(tmp_path, tiny):
    store = store_at(tmp_path, tiny)
    capture_texts(tiny, TEXTS, [0], store)
    said = json.loads((store.folder / "store.json").read_text())
    for rules in ({"pooling_version": 1}, {"sink_ratio": 5.0}):
        (store.folder / "store.json").write_text(json.dumps(said | rules))
        for opening in (lambda: ActivationStore.find(tmp_path), lambda: store_at(tmp_path, tiny)):
            with pytest.raises(ActivationStoreError, match=r"rules of another version.*[Cc]apture again"):
                opening()
    store.folder.rename(tmp_path / "old")
    with pytest.warns(UserWarning, match="computed again"):
        new = store_at(tmp_path, tiny)
    new.describe()
    assert ActivationStore.find(tmp_path).folder == new.folder


def test_a_store_from_before_pooling_versions_is_not_taken(tmp_path, tiny):
    store = store_at(tmp_path, tiny)
    store.describe()
    said = json.loads((store.folder / "store.json").read_text())
    old = {"model": said["model"], "settings": said["settings"]}
    (store.folder / "store.json").write_text(json.dumps(old))
    with pytest.raises(ActivationStoreError, match="rules of another version"):
        ActivationStore.find(tmp_path)
