"""Decoders under fuzzing: what each does with any bytes at all.

A target takes bytes and hands them to what a user's command would hand them to. It may return or raise an `AmygdalaError`;
anything else is a failure. Each imports only what it needs, because a fuzzer measures the coverage of what it imports.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.fuzz.parts import folder_of, parts
from tests.fuzz.scripted import scripted

Target = Callable[[bytes], None]


def tags() -> Target:
    """The content of a node: notes with tag lines, also of other spellings."""
    from amygdala_tl.memory.notes import known_names, notes_of_observations, split_notes, split_tag_line

    def run(data: bytes) -> None:
        note = data.decode("utf-8", "replace")
        split_tag_line(note)
        for known in (frozenset({"joy", "calm"}), known_names([note])):
            split_notes(note, known)
            notes_of_observations(note.split("\n\n"), known)

    return run


def graph() -> Target:
    """A graph file, made into a corpus."""
    from amygdala_tl.api.extract import extract
    from amygdala_tl.corpus.labels import LabelRules

    rules = LabelRules(min_content_chars=1)

    def run(data: bytes) -> None:
        folder, _ = folder_of(b"graph.jsonl\n" + data)
        try:
            extract(memory_file=folder / "graph.jsonl", rules=rules)
        finally:
            shutil.rmtree(folder)

    return run


def mcp() -> Target:
    """Answers of a memory server, from HTTP headers to notes."""
    from amygdala_tl.memory.client import read_memory_server

    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("memory_query", "memory_render")]
    results = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {}},
        "tools/list": {"tools": tools},
        "tools/call": {"content": [{"type": "text", "text": "day"}]},
    }

    def behaves(path: str, message: dict[str, Any]) -> dict[str, Any] | None:
        result = results.get(message.get("method", ""))
        return None if result is None else {"jsonrpc": "2.0", "id": message.get("id"), "result": result}

    def run(data: bytes) -> None:
        with scripted(data, behaves):
            read_memory_server("http://127.0.0.1:9/mcp", timeout=2.0)

    return run


def corpus() -> Target:
    """A corpus folder: as it is, and once more with the hashes that fit, so that the checks behind them are reached."""
    from amygdala_tl.corpus.hashing import text_id
    from amygdala_tl.corpus.io import read_corpus

    def hashed(data: bytes) -> bytes:
        row = json.loads(data)
        row["id"] = text_id(row["text"])
        return json.dumps(row).encode()

    def run(data: bytes) -> None:
        head, _, rows = data.partition(b"\n---\n")
        for lines in (rows.split(b"\n"), [_or_same(hashed, line) for line in rows.split(b"\n")]):
            folder, _ = folder_of(b"corpus.json\n" + head + b"\n---\ntexts.jsonl\n" + b"\n".join(lines))
            try:
                with _expected():
                    read_corpus(folder)
            finally:
                shutil.rmtree(folder)

    return run


def texts() -> Target:
    """Files of texts, read for `train` as a folder and for `evaluate` one by one."""
    from amygdala_tl.corpus.loader import read_texts, read_training_data

    def run(data: bytes) -> None:
        folder, files = folder_of(data)
        try:
            for file in files[:3]:
                with _expected():
                    read_texts(file)
            with _expected():
                read_training_data(folder, min_examples=1)
        finally:
            shutil.rmtree(folder)

    return run


def manifest() -> Target:
    """The manifest of a bundle."""
    from amygdala_tl.readout.manifest import manifest_json, read_manifest

    def run(data: bytes) -> None:
        known = read_manifest(data, "readout.json")
        _ = known.provenance.method, known.provenance.graded
        assert read_manifest(manifest_json(known).encode(), "readout.json") == known

    return run


def bundle() -> Target:
    """A bundle: the manifest, then the header of the safetensors file, then its bytes."""
    from amygdala_tl.readout.record import load_readout

    def run(data: bytes) -> None:
        said, tensors = _two(data)
        folder, _ = folder_of(b"readout.json\n" + said)
        try:
            (folder / "readout.safetensors").write_bytes(_safetensors(tensors))
            _ = load_readout(folder / "readout.safetensors").reading_layers
        finally:
            shutil.rmtree(folder)

    return run


def control_vector() -> Target:
    """A control vector of llama.cpp or repeng."""
    from amygdala_tl.readout.record import load_readout

    def run(data: bytes) -> None:
        folder, _ = folder_of(b"joy.gguf\n")
        try:
            (folder / "joy.gguf").write_bytes(data)
            readout = load_readout(folder / "joy.gguf")
            assert readout.vectors.isfinite().all()
        finally:
            shutil.rmtree(folder)

    return run


def shard() -> Target:
    """A store of activations: its description, then a shard's header, then its bytes."""
    from amygdala_tl.activations.store import ActivationStore

    def run(data: bytes) -> None:
        said, tensors = _two(data)
        folder, _ = folder_of(b"store.json\n" + said)
        content = _safetensors(tensors)
        try:
            (folder / f"shard-{hashlib.sha256(content).hexdigest()[:32]}.safetensors").write_bytes(content)
            store = ActivationStore.find(folder)
            layers = store.layers_of(["a"])
            if layers:
                store.load(["a"], layers[:4], "pooled")
                list(store.tokens(["a"], layers[:4]))
        finally:
            shutil.rmtree(folder)

    return run


def sse() -> Target:
    """An event stream, cut into chunks anywhere."""
    from amygdala_tl.net.client import TooMuch
    from amygdala_tl.net.sse import events

    def run(data: bytes) -> None:
        size, rest = (data[0] % 40 + 1, data[1:]) if data else (1, data)
        with suppress(TooMuch):
            for event in events((rest[start : start + size] for start in range(0, len(rest), size)), limit=1000):
                _ = event.data, event.id, event.retry

    return run


def answers() -> Target:
    """Answers of a readout server: its manifest, a request, and the stream."""
    from amygdala_tl.live.client import readout_client

    served = {"concepts": ["joy", "grief"], "layers": [1], "hidden_size": 4, "dtype": "float16"}

    def behaves(path: str, message: dict[str, Any]) -> dict[str, Any]:
        return {"data": [{"id": "model"}]} if path.endswith("/models") else served

    def run(data: bytes) -> None:
        with scripted(data, behaves), readout_client("http://127.0.0.1:9") as client:
            with _expected():
                for generated in client.stream_of(client.manifest()):
                    _ = generated.text
            with _expected():
                client.request("cmpl-1")
            with _expected():
                client.served_model()

    return run


def settings() -> Target:
    """The settings file of a causal check."""
    from amygdala_tl.steering.settings import read_settings

    def run(data: bytes) -> None:
        folder, _ = folder_of(b"run.toml\n" + data)
        try:
            read_settings(folder / "run.toml")
        finally:
            shutil.rmtree(folder)

    return run


def results() -> Target:
    """The results folder of a causal check."""
    from amygdala_tl.steering.results import read_run

    def run(data: bytes) -> None:
        folder, _ = folder_of(data)
        try:
            _ = read_run(folder).concepts
        finally:
            shutil.rmtree(folder)

    return run


def alerts() -> Target:
    """Rules of alerts, in one line as a command takes them and in a file."""
    from amygdala_tl.routes.rules import rules_of_file, rules_of_text

    def run(data: bytes) -> None:
        folder, _ = folder_of(b"alerts.toml\n" + data)
        try:
            with _expected():
                rules_of_file(folder / "alerts.toml")
            rules_of_text(data.decode("utf-8", "replace").removesuffix(".toml"))
        finally:
            shutil.rmtree(folder)

    return run


def words() -> Target:
    """A word list of `steer`, and the norms of `report`."""
    from amygdala_tl.cli.norms import read_norms
    from amygdala_tl.steering.words import read_words

    def run(data: bytes) -> None:
        folder, _ = folder_of(b"words\n" + data)
        try:
            with _expected():
                read_words(folder / "words")
            for values in read_norms(folder / "words").values():
                assert None not in values
        finally:
            shutil.rmtree(folder)

    return run


def requests() -> Target:
    """Bodies of requests to `serve`."""
    from amygdala_tl.serve.requests import ChatRequest, CompletionRequest, Refused, read_request

    def run(data: bytes) -> None:
        for kind in (CompletionRequest, ChatRequest):
            with suppress(Refused):
                found = read_request(data, kind, "model")
                _ = found.choices, found.stops, found.with_usage, found.sampling(1)
                _ = [message.text for message in getattr(found, "messages", ())]

    return run


TARGETS: dict[str, Callable[[], Target]] = {
    make.__name__: make
    for make in (
        tags,
        graph,
        mcp,
        corpus,
        texts,
        manifest,
        bundle,
        control_vector,
        shard,
        sse,
        answers,
        settings,
        results,
        alerts,
        words,
        requests,
    )
}


def _expected() -> suppress:
    from amygdala_tl.errors import AmygdalaError

    return suppress(AmygdalaError)


def _or_same(change: Callable[[bytes], bytes], line: bytes) -> bytes:
    try:
        return change(line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnicodeError):
        return line


def _two(data: bytes) -> tuple[bytes, bytes]:
    first, *rest = parts(data)
    return first, b"---\n".join(rest)


def _safetensors(tensors: bytes) -> bytes:
    """The file as it is; if it starts with a header in JSON, with the header's length in front, which a fuzzer hardly guesses."""
    if not tensors.startswith(b"{"):
        return tensors
    header, _, content = tensors.partition(b"\n")
    return len(header).to_bytes(8, "little") + header + content
