"""The index of a store: opens without its shards, and never gives another activation than they hold."""

import hashlib
import itertools
import json
import os
import re
import time

import pytest
import torch

from amygdala_tl.activations import hashed_files
from amygdala_tl.activations.golden import read_golden
from amygdala_tl.activations.pooling import Pooled
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.errors import ActivationStoreError
from amygdala_tl.records import READ_POSITIONS, CaptureSettings, ModelInfo
from amygdala_tl.tensor_files import tensor_bytes

IDS = [f"id{number}" for number in range(12)]
LAYERS = [0, 2]
PLAIN = CaptureSettings()


def values_of(n_texts, n_layers=2, d_model=8):
    """The same random activations at every call."""
    return torch.randn(n_texts, n_layers, d_model, generator=torch.Generator().manual_seed(0))


def made(folder, settings=PLAIN, ids=IDS, size=3, layers=LAYERS, d_model=8):
    """A store of random activations in shards of `size` texts, and the activations [text, layer, d_model]."""
    info = ModelInfo("m", None, "f", "A", "HookedTransformer", {}, "float32", 4, d_model, 64)
    store = ActivationStore.for_model(folder, info, settings)
    values = values_of(len(ids), len(layers), d_model)
    with store.capturing():
        for start in range(0, len(ids), size):
            part = values[start : start + size]
            positions = {position: part + place for place, position in enumerate(settings.positions)}
            rows = torch.arange(len(part)).int()
            pooled = Pooled(positions, torch.full((len(part), len(layers)), 5).int(), rows, part.clone())
            store.add(ids[start : start + size], layers, pooled, 1.0)
    return store, values


def everything(store, ids, layers):
    """All that can be read of a store, as one list of tensors."""
    return [*(store.load(ids, layers, each) for each in READ_POSITIONS), *(p.tokens for p in store.tokens(ids, layers))]


@pytest.fixture
def opened_files(monkeypatch):
    """Names of the files whose headers have been read."""
    seen, read = [], hashed_files.read_header
    monkeypatch.setattr("amygdala_tl.activations.shards.read_header", lambda path: seen.append(path.name) or read(path))
    return seen


def test_a_store_opens_without_its_shards_and_reads_only_those_that_it_needs(tmp_path, opened_files):
    _, values = made(tmp_path)
    opened_files.clear()
    store = ActivationStore.find(tmp_path)
    assert store.layers_of(IDS) == (0, 2)
    assert store.missing([*IDS, "other"], LAYERS) == {(0, 2): ["other"]}
    assert not opened_files
    assert torch.equal(store.load(IDS[4:5], LAYERS, "pooled"), values[4:5])
    assert len(opened_files) == 1


@pytest.mark.parametrize("name", ["pooled", "last"])
def test_a_load_of_some_texts_at_one_layer_reads_no_more_than_their_rows(tmp_path, monkeypatch, name):
    store, values = made(tmp_path, size=12)
    read, sizes = hashed_files.read_tensor, []

    def counted(path, name, header, part=()):
        tensor = read(path, name, header, part)
        sizes.append(tensor.numel())
        return tensor

    monkeypatch.setattr("amygdala_tl.activations.shards.read_tensor", counted)
    found = store.load([IDS[5], IDS[3]], [2], name)
    assert torch.equal(found, values[[5, 3], 1:] + READ_POSITIONS.index(name))
    assert sizes == [3 * 8]  # texts 3 to 5 at one layer, of 12 at two


@pytest.mark.parametrize(
    "repeated", [{"ids": ["a", "b", "a"], "layers": [0]}, {"ids": ["a", "b"], "layers": [0, 2, 0]}]
)
def test_a_shard_that_names_a_text_or_a_layer_twice_is_refused(tmp_path, repeated):
    store, _ = made(tmp_path, ids=[])
    values = torch.zeros(2, 1, 8)
    tensors = {name: values.clone() for name in (*READ_POSITIONS, "token_sample")}
    tensors |= {"token_counts": torch.ones(2, 1), "token_rows": torch.arange(2)}
    about = {name: json.dumps(value) for name, value in repeated.items()}
    hashed_files.write_hashed(store.folder, "shard", tensors, about | {"tokens_per_text": "1.0"})
    with pytest.raises(ActivationStoreError, match=r"is damaged.*named twice"):
        store.refresh()


def written_shard(store, **others):
    """Write a float16 shard of two texts that give three tokens, with other tensors in place of some, and return its path."""
    wide = dict.fromkeys(READ_POSITIONS, (2, 2, 8)) | {"token_sample": (3, 2, 8)}
    tensors = {name: torch.ones(shape).half() for name, shape in wide.items()}
    tensors |= {f"{name}.exponents": torch.zeros(shape[:-1], dtype=torch.int8) for name, shape in wide.items()}
    tensors |= {"token_counts": torch.full((2, 2), 5).int(), "token_rows": torch.tensor([0, 0, 1]).int()}
    tensors |= {"token_spread": torch.ones(2, 2, 3, 8).bfloat16()}
    about = {"ids": '["a", "b"]', "layers": "[0, 2]", "tokens_per_text": "1.5"}
    return hashed_files.write_hashed(store.folder, "shard", tensors | others, about)


SPREAD_IN_HALF = CaptureSettings(store_dtype="float16", token_components=3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("pooled", shape) for shape in [(3, 2, 8), (2, 1, 8), (2, 2, 9), (2, 2)]),
        *(("token_sample", shape) for shape in [(2, 2, 8), (3, 1, 8), (3, 2, 9), (3, 8)]),
        *(("token_spread", shape) for shape in [(1, 2, 3, 8), (2, 1, 3, 8), (2, 2, 2, 8), (2, 2, 3, 9)]),
        *(("pooled.exponents", shape) for shape in [(1, 2), (2, 1), (2,)]),
        *(("token_sample.exponents", shape) for shape in [(2, 2), (3, 1)]),
        *(("token_counts", shape) for shape in [(1, 2), (2, 1), (2,)]),
        ("token_rows", (2,)),
    ],
)
def test_a_shard_whose_tensors_do_not_fit_each_other_is_refused(tmp_path, name, shape):
    store, _ = made(tmp_path, SPREAD_IN_HALF, ids=[])
    whole = written_shard(store)
    store.refresh()
    assert store.load_spread(["b", "a"], [2]).shape == (2, 1, 3, 8)
    assert sum(len(part.tokens) for part in store.tokens(["a", "b"], [0])) == 3
    whole.unlink()
    written_shard(store, **{name: torch.zeros(shape)})
    with pytest.raises(ActivationStoreError, match=r"is damaged .got: (token_sample|" + re.escape(name) + ") of shape"):
        store.refresh()


def test_tokens_of_a_text_that_the_shard_does_not_hold_are_refused(tmp_path):
    store, _ = made(tmp_path, SPREAD_IN_HALF, ids=[])
    for rows in ([0, 1, 2], [-1, 0, 1]):
        shard = written_shard(store, token_rows=torch.tensor(rows).int())
        store.refresh()
        with pytest.raises(ActivationStoreError, match="a token of a text that the shard does not hold"):
            list(store.tokens(["a", "b"], [0]))
        shard.unlink()


@pytest.mark.parametrize("shape", [(3, 2, 8), (2, 1, 8), (2, 3, 8), (2, 2, 9), (2, 2)])
def test_golden_streams_of_another_shape_than_their_texts_and_layers_are_refused(tmp_path, shape):
    store, _ = made(tmp_path)
    about = {name: json.dumps(value) for name, value in {"texts": ["x"], "ids": [[1, 2]], "layers": LAYERS}.items()}
    whole = hashed_files.write_hashed(store.folder, "golden", {"streams": torch.zeros(2, 2, 8)}, about)
    assert read_golden(store).at(LAYERS).shape == (2, 2, 8)
    whole.unlink()
    hashed_files.write_hashed(store.folder, "golden", {"streams": torch.zeros(shape)}, about)
    with pytest.raises(ActivationStoreError, match=r"is damaged.*streams of shape"):
        read_golden(store)


def test_a_header_is_no_longer_than_its_file_and_than_safetensors_allows(tmp_path):
    made(tmp_path)
    shard = next(tmp_path.rglob("shard-*"))
    for length, size in ((1 << 50, 100), (200_000_000, 300_000_000)):
        shard.write_bytes(length.to_bytes(8, "little"))
        os.truncate(shard, size)
        with pytest.raises(ActivationStoreError, match=rf"is damaged .got: {size} bytes"):
            hashed_files.read_header(shard)


def test_a_header_whose_shapes_do_not_fill_their_bytes_is_refused(tmp_path):
    path = tmp_path / "shard-0.safetensors"
    for entry in ({"dtype": "F32", "shape": [3]}, {"dtype": "F16", "shape": [2]}, {"dtype": "F4", "shape": [16]}):
        head = json.dumps({"pooled": {**entry, "data_offsets": [0, 8]}}).encode()
        path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(8))
        with pytest.raises(ActivationStoreError, match=r"is damaged .got: pooled of"):
            hashed_files.read_header(path)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_header_that_its_name_does_not_hash_is_refused(tmp_path):
    made(tmp_path)
    shard = next(tmp_path.rglob("shard-*"))
    shard.write_bytes(shard.read_bytes().replace(b"id1", b"idx"))
    with pytest.raises(ActivationStoreError, match="another hash"):
        ActivationStore.find(tmp_path).load(IDS, LAYERS, "pooled")


def test_a_header_that_does_not_hash_all_of_its_tensors_is_refused(tmp_path):
    data = tensor_bytes({"pooled": torch.zeros(2)}, {"sha256": json.dumps({"last": "0"})})
    head = data[: 8 + int.from_bytes(data[:8], "little")]
    path = tmp_path / f"shard-{hashlib.sha256(head).hexdigest()[:32]}.safetensors"
    path.write_bytes(data)
    with pytest.raises(ActivationStoreError, match="another hash"):
        hashed_files.read_header(path)


def test_a_file_of_an_earlier_version_is_hashed_as_a_whole(tmp_path):
    data = tensor_bytes({"pooled": torch.ones(2)}, {})
    path = tmp_path / f"shard-{hashlib.sha256(data).hexdigest()[:32]}.safetensors"
    path.write_bytes(data)
    assert hashed_files.read_tensor(path, "pooled", hashed_files.read_header(path)).tolist() == [1.0, 1.0]
    path.write_bytes(flipped(data, len(data) - 1))
    with pytest.raises(ActivationStoreError, match="is damaged"):
        hashed_files.read_tensor(path, "pooled", hashed_files.read_header(path))


@pytest.mark.parametrize("spoilt", ["pooled", "last"])
def test_a_shard_that_was_found_whole_is_checked_again_after_a_change_and_for_each_tensor(tmp_path, spoilt):
    store, values = made(tmp_path, size=12)
    (shard,) = tmp_path.rglob("shard-*")
    whole = shard.read_bytes()
    place = whole.index((values + READ_POSITIONS.index(spoilt)).numpy()[0].tobytes()[:32])
    if spoilt == "pooled":
        assert torch.equal(store.load(IDS, LAYERS, "pooled"), values)
    shard.write_bytes(flipped(whole, place))
    if spoilt == "last":
        assert torch.equal(store.load(IDS, LAYERS, "pooled"), values)
    with pytest.raises(ActivationStoreError, match="is damaged"):
        store.load(IDS, LAYERS, spoilt)


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_header_of_any_length_is_read(tmp_path, monkeypatch, where):
    monkeypatch.setattr(hashed_files, "_FIRST", 64)
    root = tmp_path if where == "folder" else f"memory://{time.time_ns()}"
    _, values = made(root)
    assert torch.equal(ActivationStore.find(root).load(IDS, LAYERS, "pooled"), values)


def lies(index):
    """Indices that do not say what the shards hold."""
    names = list(index)
    first, second = index[names[0]], index[names[1]]
    yield "swapped texts", {**index, names[0]: {**first, "ids": first["ids"][::-1]}}
    yield (
        "another's texts",
        {**index, names[0]: {**first, "ids": second["ids"]}, names[1]: {**second, "ids": first["ids"]}},
    )
    yield "swapped layers", {**index, names[0]: {**first, "layers": first["layers"][::-1]}}
    yield "a layer too few", {**index, names[0]: {**first, "layers": first["layers"][:1]}}
    yield "other layers", {**index, names[0]: {**first, "layers": [1, 3]}}
    yield "a text too few", {**index, names[0]: {**first, "ids": [*first["ids"][:2], "x"]}}
    yield "a shard of an earlier version", {**index, names[0]: {**first, "per_text": None}}
    yield "a shard that is not there", {**index, f"shard-{'0' * 32}.safetensors": first}
    yield "no shard", {}


def test_texts_in_another_order_are_the_same_file(tmp_path):
    made(tmp_path / "one", size=12)
    store, _ = made(tmp_path / "other", ids=[])
    order = [5, 3, 11, 0, 1, 2, 4, 6, 7, 10, 8, 9]
    part, rows = values_of(12)[order], torch.arange(12).int()
    positions = {position: part + place for place, position in enumerate(READ_POSITIONS)}
    sampled = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    pooled = Pooled(positions, torch.full((12, 2), 5).int(), rows[sampled], part[sampled])
    store.add([IDS[row] for row in order], LAYERS, pooled, 1.0)
    (one,), (other,) = ((tmp_path / name).rglob("shard-*") for name in ("one", "other"))
    assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


@pytest.mark.parametrize("number", range(9))
def test_an_index_that_lies_never_gives_another_activation_and_is_written_again(tmp_path, number):
    _, values = made(tmp_path)
    (file,) = tmp_path.rglob("index.json")
    whole = file.read_bytes()
    _, lie = next(itertools.islice(lies(json.loads(whole)), number, None))
    for read in (
        lambda store: store.load(IDS, LAYERS, "pooled"),
        lambda store: torch.cat([store.load([each], LAYERS, "pooled") for each in IDS[::-1]]),
        lambda store: torch.cat([part for _, part in sorted(store.batches(IDS, LAYERS, "pooled", size=1))]),
        lambda store: torch.stack([torch.cat([p.tokens for p in store.tokens(IDS, [layer])]) for layer in LAYERS], 1),
    ):
        file.write_text(json.dumps(lie))
        assert torch.equal(read(ActivationStore.find(tmp_path)).sort(dim=0).values, values.sort(dim=0).values)
        assert file.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"shard-0.safetensors": 3}', b"\xff"])
def test_a_damaged_or_missing_index_is_written_again(tmp_path, damage):
    _, values = made(tmp_path)
    (file,) = tmp_path.rglob("index.json")
    whole = file.read_bytes()
    for spoil in (lambda: file.write_bytes(damage), file.unlink):
        spoil()
        assert torch.equal(ActivationStore.find(tmp_path).load(IDS, LAYERS, "pooled"), values)
        assert file.read_bytes() == whole


def test_a_store_whose_index_cannot_be_written_is_read_without_it(tmp_path):
    _, values = made(tmp_path)
    (file,) = tmp_path.rglob("index.json")
    file.unlink()
    file.mkdir()
    assert torch.equal(ActivationStore.find(tmp_path).load(IDS, LAYERS, "pooled"), values)


def test_a_shard_that_came_or_went_since_is_seen(tmp_path, opened_files):
    store, values = made(tmp_path)
    gone = store._shards[1].path
    kept = gone.read_bytes()
    gone.unlink()
    assert sum(map(len, ActivationStore.find(tmp_path).missing(IDS, LAYERS).values())) == 3
    gone.write_bytes(kept)
    opened_files.clear()
    assert torch.equal(ActivationStore.find(tmp_path).load(IDS, LAYERS, "pooled"), values)
    assert opened_files.count(gone.name) == 1
    gone.write_bytes(kept[:-1])
    with pytest.raises(ActivationStoreError, match=r"is damaged.*Delete it"):
        ActivationStore.find(tmp_path)
