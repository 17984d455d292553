"""A server with adapters, keys, traces and another server around it: which scores there are, and who gets them."""

import base64
import io
import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl import readout_client
from amygdala_tl.errors import KeyRefused
from tests.report.chromium import needs_chromium
from tests.serve.page import answered, colours, send, tokens
from tests.vllm.bundles import add_calibration, add_golden, write_bundle
from tests.vllm.serving import stream, vllm_server

pytestmark = pytest.mark.needs_vllm

KEY, SERVER_KEY = "readers-only", "secret"
GOLDEN = ["The tide came in again. ", "The tide came in again, as it does. " * 15]
SHORT_SERVER = ("--enforce-eager", "--enable-prefix-caching", "--max-model-len", "96", "--max-num-batched-tokens", "32")
"""Arguments for a server whose context is shorter than the second golden text, which begins as the first, and read in chunks."""
ASK = {"model": "m", "prompt": "The lamp went out.", "max_tokens": 5, "temperature": 0, "return_token_ids": True}


def write_adapter(folder):
    """A LoRA adapter that changes the queries of every layer."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in range(4):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(8, 64, generator=generator)
        tensors[f"{name}.lora_B.weight"] = torch.randn(64, 8, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@contextmanager
def collector_of_traces():
    """An OTLP collector on loopback: its address, and the spans that have come."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            said = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(span for of in said.resource_spans for each in of.scope_spans for span in each.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/v1/traces", spans
        listening.shutdown()


@pytest.fixture(scope="module")
def traced():
    with collector_of_traces() as both:
        yield both


@pytest.fixture(scope="module")
def server(served_checkpoint, tmp_path_factory, traced):
    """A server with an adapter, both keys and traces, started from a process with another server's socket in its environment."""
    folder = tmp_path_factory.mktemp("guarded")
    checkpoint = served_checkpoint("llama")
    bundle = write_bundle(folder / "r.safetensors", d_model=64, layers=(1, 3))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    add_golden(bundle, model, AutoTokenizer.from_pretrained(checkpoint), GOLDEN)
    add_calibration(bundle)
    adapter = write_adapter(tmp_path_factory.mktemp("adapter"))
    arguments = (
        "--enable-lora",
        "--lora-modules",
        f"adapted={adapter}",
        "--max-lora-rank",
        "8",
        "--enable-prompt-embeds",
        "--otlp-traces-endpoint",
        traced[0],
    )
    with vllm_server(
        *SHORT_SERVER, *arguments, "--api-key", SERVER_KEY, bundle=bundle, model=checkpoint,
        VLLM_READOUT_KEY=KEY, AMYGDALA_TL_READOUT_SOCKET="ipc:///another/servers/rows",
        VLLM_READOUT_TRACES="1", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf", OTEL_BSP_SCHEDULE_DELAY="100",
    ) as running:  # fmt: skip
        yield running


def test_the_socket_of_another_server_switches_nothing_off(server):
    (choice,) = server.client.post("/v1/completions", json=ASK).json()["choices"]
    assert len(choice["readout"]) == 5
    assert None not in choice["readout"]
    assert "readout_reason" not in choice


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_an_adapter_gets_no_scores_and_is_told_why(server, path):
    body = ASK | {"model": "adapted"}
    if "chat" in path:
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    chunks = stream(server, path, body | {"stream": True})
    for choice in (answer.json()["choices"][0], chunks[-1]["choices"][0]):
        assert "a LoRA adapter changes the weights" in choice["readout_reason"]
    rows = [row for chunk in chunks for row in chunk["choices"][0].get("readout", [])]
    assert answer.json()["choices"][0]["readout"] == rows == [None] * 5
    kept = httpx.get(
        f"{server.url}/v1/readout/{answer.json()['id']}",
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
        trust_env=False,
    ).json()
    assert "a LoRA adapter" in kept["sequences"][0]["reason"]
    assert set(kept["sequences"][0]["readout"]) == {None}
    (choice,) = server.client.post("/v1/completions", json=ASK).json()["choices"]
    assert None not in choice["readout"], "the base model's scores go on"


def test_the_span_of_a_request_has_the_strongest_concepts_of_the_answer_and_ends_with_it(server, traced):
    with readout_client(server.url, token=KEY) as client:
        served = client.manifest()
    parent = {"traceparent": f"00-{'5' * 32}-{'7' * 16}-01"}

    def ask(span_of, **more):
        answer = server.client.post("/v1/completions", json=ASK | more, headers=parent | {"X-Request-Id": span_of})
        deadline = time.monotonic() + 30
        while True:
            for span in traced[1]:
                said = {each.key: each.value for each in span.attributes}
                if span.name == "llm_request" and span_of in said["gen_ai.request.id"].string_value:
                    return answer.json()["choices"], span, said
            assert time.monotonic() < deadline, "no span has come"
            time.sleep(0.05)

    (choice,), span, said = ask("plain")
    z = served.combined.z(np.asarray(choice["readout"], dtype=np.float32).mean(axis=0), tokens=5)
    order = np.argsort(-z)
    assert [one.string_value for one in said["amygdala_tl.concepts"].array_value.values] == [
        served.concepts[one] for one in order
    ]
    found = [one.double_value for one in said["amygdala_tl.z"].array_value.values]
    np.testing.assert_allclose(found, z[order], atol=2e-3)
    took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    assert took == pytest.approx(said["gen_ai.latency.e2e"].double_value, abs=0.05)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("5" * 32, "7" * 16)
    _, _, said = ask("adapted", model="adapted")
    assert "gen_ai.usage.completion_tokens" in said
    assert not [name for name in said if name.startswith("amygdala_tl")]


def test_a_prompt_of_embeddings_gets_no_scores_and_is_told_why(server):
    data = io.BytesIO()
    torch.save(torch.randn(6, 64), data)
    embeds = base64.b64encode(data.getvalue()).decode()
    answer = server.client.post("/v1/completions", json=ASK | {"prompt": None, "prompt_embeds": embeds})
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    assert choice["readout"] == [None] * 5
    assert "embeddings" in choice["readout_reason"]


def test_the_routes_take_their_own_key_and_not_the_servers(server):
    for path in ("manifest", "stream", "cmpl-x"):
        assert server.client.get(f"/v1/readout/{path}").status_code == 401
    for token in (None, SERVER_KEY):
        with readout_client(server.url, token=token) as client, pytest.raises(KeyRefused, match="VLLM_READOUT_KEY"):
            client.manifest()
    with readout_client(server.url, token=KEY) as client:
        assert client.manifest().layers == (1, 3)
        assert client.served_model() == ""
    own = {"Authorization": f"Bearer {KEY}"}
    for path in ("/v1/models", "/v1/readout/../models", "/v1/readout/%2e%2e/models", "//v1/readout/manifest"):
        answer = httpx.get(server.url + path, headers=own, timeout=60, trust_env=False)
        assert answer.status_code in (401, 404), path
        assert b'"object"' not in answer.content
    answer = httpx.post(f"{server.url}/v1/completions", headers=own, json=ASK, timeout=60, trust_env=False)
    assert answer.status_code == 401


def test_tokens_have_their_texts_for_who_asks_for_them_streamed_and_not(server):
    body = ASK | {"max_tokens": 9, "return_tokens": True}
    with readout_client(server.url, token=KEY) as client:
        combined = client.manifest().combined
    for path in ("/v1/completions", "/v1/chat/completions"):
        asked = dict(body)
        if "chat" in path:
            asked["messages"] = [{"role": "user", "content": asked.pop("prompt")}]
        (choice,) = server.client.post(path, json=asked).json()["choices"]
        said = choice["message"]["content"] if "chat" in path else choice["text"]
        assert "".join(choice["tokens"]) == said
        assert len(choice["tokens"]) == len(choice["readout"]) == len(choice["readout_combined"])
        sums = combined.scores(np.asarray(choice["readout"], dtype=np.float32))
        np.testing.assert_allclose(choice["readout_combined"], sums, rtol=1e-5, atol=1e-5)
        assert ASK["prompt"] in "".join(choice["prompt"]["tokens"])
        assert len(choice["prompt"]["tokens"]) == len(choice["prompt"]["readout"])
        parts = [chunk["choices"][0] for chunk in stream(server, path, asked | {"stream": True})]
        assert [token for part in parts for token in part.get("tokens", [])] == choice["tokens"]
        assert [part["prompt"]["tokens"] for part in parts if "prompt" in part] == [choice["prompt"]["tokens"]]
    (choice,) = server.client.post("/v1/completions", json=ASK).json()["choices"]
    assert not {"tokens", "prompt"} & choice.keys()


@needs_chromium
def test_the_page_chats_with_both_keys_and_colours_every_token_and_offers_no_steering(visit, server):
    page = visit(f"{server.url}/readout/", origin=server.url, quiet=False)  # Chromium logs every 401
    for name, key in (("Key of the readout routes", KEY), ("API key of the server", SERVER_KEY)):
        page.get_by_label(name).fill(key)
        page.get_by_role("button", name="Use key").click()
    send(page, "The tide came in again.")
    assert "".join(tokens(page, 0).all_inner_texts()) == "The tide came in again."
    assert tokens(page, 1).count() == 6
    assert all(colours(page)), "of the prompt's tokens and the answer's"
    assert len(set(colours(page))) > 2
    first = colours(page)
    page.get_by_role("button", name="Regenerate").click()  # the prompt comes from vLLM's cache, without scores
    answered(page)
    assert colours(page) == first
    assert page.locator(".bar-row").count() == 3
    assert page.locator(".timeline polyline").count() == 1
    assert "all layers" in page.locator("#view-controls").inner_text()
    assert not page.locator("#steering").is_visible()


def test_a_server_that_does_not_steer_says_so(server):
    assert "steers" not in server.client.get("/v1/models").json()["data"][0]
    answer = server.client.post("/v1/completions", json=ASK | {"steer": [{"concept": "awe", "layer": 1, "dose": 1}]})
    assert answer.status_code == 400
    assert "VLLM_READOUT_STEER=1" in answer.json()["error"]["message"]


def test_the_stream_tells_no_texts_and_no_names(server):
    found = []
    with readout_client(server.url, token=KEY) as client:

        def listen():
            for generated in client.stream():
                found.append(generated)
                if sum(len(one.scores) for one in found) >= 5:
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        server.until("stream_readers", 1)
        chunks = stream(server, "/v1/completions", ASK | {"stream": True})
        thread.join(60)
        assert not thread.is_alive()
        (sequence,) = client.request(chunks[0]["id"])
    assert {(one.text, one.token_ids) for one in found} == {("", ())}
    assert len({one.request_id for one in found}) == 1
    assert found[0].request_id not in chunks[0]["id"]
    assert (sequence.token_ids, len(sequence.scores)) == ((), sequence.prompt_tokens + 5)


def test_the_log_says_at_the_start_who_may_read_what(server):
    said = server.log.read_text()
    assert "/v1/readout/ shows every request's scores to holders of VLLM_READOUT_KEY" in said
    assert "the routes leave out token ids and texts" in said
    assert KEY not in said
    # The first text has 7 tokens, and the second one is cut to the context.
    assert re.search(r"golden check passed: .* \(median of (\d+) tokens", said)[1] == str(7 + 95)
