"""Stores in object stores: the same files as in a folder, over fsspec's URLs and through a real S3 server."""

import importlib.util
import threading
import time

import pytest
import torch

from amygdala_tl import Corpus, capture, fit
from amygdala_tl.activations.golden import read_golden
from amygdala_tl.activations.places import place
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.errors import ActivationStoreError, InputError, StorageError
from tests.activations.test_shard_index import IDS, LAYERS, everything, flipped, made

NEEDED = [name for name in ("moto", "s3fs", "flask") if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def s3():
    """Bucket of a local S3 server."""
    if NEEDED:
        pytest.skip(f"an S3 server needs {', '.join(NEEDED)}: pip install 'moto[server]' s3fs")
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["memory", "file", "s3"])
def url(request, tmp_path):
    """URL of an empty folder."""
    name = f"{time.time_ns()}"
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{name}"
    return f"memory://{name}/activations" if request.param == "memory" else f"file://{tmp_path}/{name}"


def contents(folder):
    """Name -> bytes of the files of a store, without its lock."""
    return {file.name: file.read_bytes() for file in folder.glob("*") if file.name != ".capturing"}


def test_a_store_at_a_url_has_the_files_of_a_folder_and_gives_the_same_activations(url, tmp_path):
    there, values = made(url)
    here, _ = made(tmp_path / "here")
    assert contents(there.folder) == contents(here.folder)
    for store in (ActivationStore.find(url), ActivationStore.find(f"{url}/{there.folder.name}")):
        assert torch.equal(store.load(IDS[::-1], LAYERS, "pooled"), values.flip(0))
        assert sum(len(part.tokens) for part in store.tokens(IDS, LAYERS)) == 2 * len(IDS)
    before = contents(there.folder)
    made(url)
    assert contents(there.folder) == before


def test_damage_at_a_url_is_named_and_what_is_not_there_is_said(url):
    with pytest.raises(ActivationStoreError, match="no activations here"):
        ActivationStore.find(url)
    store, values = made(url)
    path = store._shards[0].path
    whole = path.read_bytes()
    number = whole.index(values[IDS.index(next(iter(store._shards[0].rows)))].numpy().tobytes()[:32])
    write = path.write_bytes if hasattr(path, "write_bytes") else lambda data: path.files.pipe_file(path.path, data)
    for spoilt in (*(flipped(whole, at) for at in (number, len(whole) - 1)), whole[:-1], b""):
        write(spoilt)
        with pytest.raises(ActivationStoreError, match=rf"{path.name}.*is damaged.*Delete it"):
            everything(ActivationStore.find(url), IDS, LAYERS)


def test_a_corpus_is_captured_to_a_url_and_fitted_from_it_as_from_a_folder(url, tmp_path, tiny):
    texts = [f"I was {word} {when} and {'then ' * when} so." for when in range(6) for word in ("happy", "sad")]
    corpus = Corpus.from_texts([*texts, "\u2063"], [*[["joy"], ["grief"]] * 6, "joy"], min_examples=5)
    fitted = []
    for where in (url, tmp_path / "here"):
        _, first = capture(corpus, tiny, where, layers=[1, 3], chat_template="none")
        again, second = capture(corpus, tiny, where, layers=[1, 3], chat_template="none")
        assert (first.texts_run, second.texts_run) == (first.texts - len(first.left_out), 0)
        assert read_golden(again).streams.keys() == {1, 3}
        fitted.append(fit(corpus, ActivationStore.find(where), aggregator="mean"))
    assert torch.equal(fitted[0].vectors, fitted[1].vectors)
    assert torch.equal(fitted[0].token_calibration.std, fitted[1].token_calibration.std)


def test_captures_into_one_bucket_at_once_leave_a_whole_store(url):
    threads = [threading.Thread(target=made, args=(url,), kwargs={"size": size}) for size in (3, 4, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, values = made(url)
    store = ActivationStore.find(url)
    assert torch.equal(store.load(IDS, LAYERS, "pooled"), values)
    assert sum(part.count for part in store.tokens(IDS, [0])) == 5 * len(IDS)


def test_an_address_without_its_file_system_or_server_is_one_message():
    with pytest.raises(InputError, match=r"nosuch://bucket.*cannot be opened"):
        place("nosuch://bucket/x")
    if not NEEDED:
        with pytest.raises(StorageError, match=r"s3://no-such-bucket.*refuses"):
            made("s3://no-such-bucket/x")
