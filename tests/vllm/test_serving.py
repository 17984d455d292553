"""The plugin in a real server: what it serves equals what the lens reads of the same ids, and it changes nothing else."""

import functools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from amygdala_tl import readout_client
from amygdala_tl.errors import ReadoutsOff
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.readout.erasing import Erasing
from amygdala_tl.readout.record import load_readout
from amygdala_tl.records import Calibration
from amygdala_tl.serve.app import readout_app
from tests.live.terminal import terminal
from tests.report.chromium import needs_chromium
from tests.serve.openai_client import check_openai_client
from tests.serve.page import answered, colours, compare, saved, send, steer_again, texts, tokens
from tests.serve.prometheus import becomes, needs_prometheus, prometheus
from tests.servers import running_app
from tests.vllm.bundles import add_golden, write_bundle
from tests.vllm.serving import refusal, stream, vllm_server

pytestmark = pytest.mark.needs_vllm

LAYERS = tuple(range(30))  # every layer of the embedded model
CONCEPTS = tuple(f"concept{index}" for index in range(20))
PROMPTS = [
    "Tell me.",
    "The lamp went out and nobody came. " * 3,
    "One",
    "The tide came in again, as it does. " * 12,
    "A letter from an old friend lay on the table, still unread, and she " * 6,
    "The tide came in again, as it does. " * 25,
    "He counted seven stones, then",
    "Rain on the roof; " * 30,
]
GREEDY = {"model": "m", "max_tokens": 10, "temperature": 0, "return_token_ids": True}
KEY = "secret"
OFF_BY_ONE = """
from amygdala_tl.vllm import mapping
find = mapping.find_layers

def before(model, n_layers):
    path, layers = find(model, n_layers)
    return path, [layers[0], *layers[:-1]]

mapping.find_layers = before
"""
ALERTED, ALERT_LAYER = "concept3", 14
ALERT = f"{ALERTED}>-1000000@window=4@layer={ALERT_LAYER}"
"""Fires at the first generated token of every answer."""
STEERS = [
    [{"concept": "concept3", "layer": 14, "dose": 0.6}],
    [{"concept": "concept3", "layer": 10, "kind": "erase"}],
    [{"concept": "concept5", "layer": 20, "dose": -0.8, "kind": "clamp"}],
    [
        {"concept": "concept3", "layer": 14, "dose": 0.3},
        {"concept": "concept4", "layer": 14, "dose": 0.2, "kind": "clamp"},
        {"concept": "concept3", "layer": 14, "kind": "erase"},
        {"concept": "concept9", "layer": 29, "dose": 0.3},
    ],
]
CHUNK = 64
SMALL_CHUNKS = ("--max-num-batched-tokens", str(CHUNK))
SETTINGS = {
    "prefix cache": (*SMALL_CHUNKS, "--enable-prefix-caching", "--enforce-eager"),
    "no prefix cache, compiled": (*SMALL_CHUNKS, "--no-enable-prefix-caching", "--api-key", KEY),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, embedded):
    """Random directions at every layer of the embedded model."""
    path = tmp_path_factory.mktemp("bundle") / "r.safetensors"
    readout = load_readout(write_bundle(path, d_model=576, layers=LAYERS, concepts=CONCEPTS))
    shape = len(LAYERS), len(CONCEPTS)
    across = torch.nn.functional.normalize(readout.vectors + readout.vectors.roll(1, dims=1), dim=-1)
    erasing = Erasing(readout.vectors, across, 30 * readout.vectors.sum(dim=1))
    readout = replace(readout, write_vectors=readout.vectors, erasing=erasing)
    readout = replace(readout, token_calibration=Calibration(torch.zeros(shape), torch.ones(shape), 100))
    ids = [embedded.tokenizer(text).input_ids for text in PROMPTS[:4]]  # the fourth is longer than a chunk
    streams = [run_resid_post(embedded.model, torch.tensor([one]), LAYERS)[0] for one in ids]
    return readout.with_golden(PROMPTS[:4], ids, torch.cat(streams)).save(path)


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda name: name.replace(", ", "-").replace(" ", "-"))
def server(request, bundle):
    """A server with readouts on."""
    more = {"VLLM_READOUT_STREAM_TEXT": "1", "VLLM_READOUT_ALERTS": ALERT, "VLLM_READOUT_METRICS_CONCEPTS": ALERTED}
    with vllm_server(*SETTINGS[request.param], bundle=bundle, VLLM_READOUT_STEER="1", **more) as running:
        yield request.param, running


@pytest.fixture(scope="module")
def answers(server):
    """Greedy answers to eight prompts at once, twice, so that the second round finds prefixes in the cache."""
    _, running = server
    return [at_once(running, PROMPTS), at_once(running, PROMPTS)]


def at_once(running, prompts):
    def one(prompt):
        answer = running.client.post("/v1/completions", json={**GREEDY, "prompt": prompt})
        assert answer.status_code == 200, answer.text
        kept = running.client.get(f"/v1/readout/{answer.json()['id']}")
        assert kept.status_code == 200, kept.text
        return answer.json(), kept.json()

    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(one, prompts))


@pytest.fixture(scope="module")
def lens(embedded, bundle):
    """Scores [token, layer, concept] of token ids, by TransformerLens."""
    vectors = load_readout(bundle).vectors

    @functools.cache
    def scores(ids):
        streams = run_resid_post(embedded.model, torch.tensor([ids]), LAYERS)[0].float()
        return torch.einsum("tld,lcd->tlc", streams, vectors)

    return lambda ids: scores(tuple(ids))


def relative(found, expected):
    """Largest relative error of a token's scores at a layer."""
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def test_generated_tokens_of_concurrent_requests_equal_the_lens(answers, lens):
    assert max(len(answer["choices"][0]["prompt_token_ids"]) for answer, _ in answers[0]) > 2 * CHUNK
    for answer, _ in [pair for round_ in answers for pair in round_]:
        (choice,) = answer["choices"]
        prompt, output = choice["prompt_token_ids"], choice["token_ids"]
        expected = lens(prompt + output)[len(prompt) - 1 : -1]
        found = torch.tensor(choice["readout"])
        assert found.shape == (len(output), len(LAYERS), len(CONCEPTS))
        assert relative(found, expected) < 1e-4


def test_every_position_of_a_request_equals_the_lens_and_uncomputed_ones_are_null(server, answers, lens):
    name, running = server
    cached = 0
    for number, pairs in enumerate(answers):
        for answer, kept in pairs:
            (sequence,) = kept["sequences"]
            ids = sequence["token_ids"]
            assert ids == answer["choices"][0]["prompt_token_ids"] + answer["choices"][0]["token_ids"]
            assert sequence["finished"]
            have = [position for position, row in enumerate(sequence["readout"]) if row is not None]
            assert relative(torch.tensor([sequence["readout"][p] for p in have]), lens(ids)[have]) < 1e-4
            missing = sorted(set(range(len(ids))) - set(have))
            assert missing[-1] == len(ids) - 1  # the last token was sampled and never run
            assert missing[:-1] == list(range(len(missing) - 1))  # a prefix
            if number == 0 and "no prefix" in name:
                assert missing == [len(ids) - 1]
            cached += len(missing) - 1
    assert (cached > 0) == ("no prefix" not in name)
    metrics = running.metrics()
    assert metrics['positions_missing_total{reason="cached"}'] >= cached
    assert metrics['positions_missing_total{reason="lost"}'] == 0
    assert all(value == 0 for name, value in metrics.items() if name.startswith("failures_total"))


def test_every_answer_fires_the_alert_once_with_the_z_of_its_first_token(server, answers):
    _, running = server
    found = running.client.get("/v1/readout/events", params={"last": 1000}).json()
    fired = {event["request_id"]: event for event in found["events"]}
    for answer, _ in [pair for round_ in answers for pair in round_]:
        event = fired[f"{answer['id']}-0"]  # vLLM's name of the completion's first prompt
        (choice,) = answer["choices"]
        first = int(len(choice["prompt_token_ids"]) == 1)  # the first position of all is an attention sink
        expected = choice["readout"][first][LAYERS.index(ALERT_LAYER)][CONCEPTS.index(ALERTED)]
        assert (event["token"], event["tokens"], event["rule"]) == (first, 1, ALERT)
        assert event["z"] == pytest.approx(expected, abs=1e-3)
    assert len(fired) == len(found["events"]), "no answer fired twice"
    assert running.metrics()[f'alerts_total{{rule="{ALERT}"}}'] >= len(found["events"])


def test_the_openai_client_works(server):
    _, running = server
    check_openai_client(running.url, "m", KEY)


@needs_prometheus
def test_prometheus_reads_the_plugins_metrics(server, answers, tmp_path):
    name, running = server
    if "no prefix" in name:
        pytest.skip("one scrape is enough")
    said = running.metrics()
    alert = f'alerts_total{{rule="{ALERT}"}}'
    assert said[alert] >= len(answers[0]) + len(answers[1])
    wanted = {alert: said[alert], "tokens_read_total": said["tokens_read_total"], "failures_total": 0}
    wanted |= {key: value for key, value in said.items() if key.startswith("concept_tokens_total")}
    assert len(wanted) > 3
    with prometheus(running.url, tmp_path, [ALERTED]) as address:
        for query, value in wanted.items():
            found = becomes(address, f"amygdala_tl_{query}", value.__eq__)
            assert found == {value}, (query, (tmp_path / "log").read_text()[-2000:])


@pytest.fixture(scope="module")
def serve_url(embedded, bundle):
    """Address of `serve` with the same model and readout."""
    with running_app(readout_app(load_readout(bundle), embedded)) as url:
        yield url


@pytest.mark.parametrize("steer", STEERS, ids=["add", "erase", "clamp", "several"])
def test_a_steered_answer_equals_that_of_serve(server, answers, serve_url, steer):
    _, running = server
    number = 5 if len(steer) > 1 else 0  # the first one is longer than a block of the cache, which has it without edits
    said = {**GREEDY, "prompt": PROMPTS[number], "steer": steer}
    asked = running.client.post("/v1/completions", json=said)
    assert asked.status_code == 200, asked.text
    (found,) = asked.json()["choices"]
    body = {**said, "model": "embedded"}
    (wanted,) = httpx.post(f"{serve_url}/v1/completions", json=body, timeout=300, trust_env=False).json()["choices"]
    assert found["token_ids"] == wanted["token_ids"]
    assert relative(torch.tensor(found["readout"]), torch.tensor(wanted["readout"])) < 1e-3
    (plain,) = answers[0][number][0]["choices"]
    first, without = (torch.tensor(each["readout"][0]) for each in (found, plain))
    assert relative(first, without) > 1e-2, "the edit is too small to show"


def test_other_requests_stay_as_they_are_to_the_bit_beside_a_steered_one(server):
    _, running = server
    asked = {**GREEDY, "prompt": PROMPTS[1], "logprobs": 5}
    endless = {**GREEDY, "prompt": PROMPTS[6], "max_tokens": 800, "ignore_eos": True, "stream": True}

    def beside(**more):
        with running.client.stream("POST", "/v1/completions", json=endless | more) as neighbour:
            lines = neighbour.iter_lines()
            next(lines)  # it generates
            (choice,) = running.client.post("/v1/completions", json=asked).json()["choices"]
            running.until('sequences{state="running"}', 1)
            return choice

    assert beside(steer=STEERS[-1]) == beside()


@needs_chromium
def test_the_page_steers_compares_edits_saves_and_loads(visit, server, tmp_path):
    name, running = server
    if "no prefix" in name:
        pytest.skip("one page is enough")
    page = visit(f"{running.url}/readout/", origin=running.url)
    send(page, "Tell me.")
    plain = tokens(page, 1).all_inner_texts()
    steer_again(page, "concept3", 15)
    assert tokens(page, 1).all_inner_texts() != plain
    compare(page, "no steering", "And then?")
    answered(page)
    steered, unsteered = (page.get_by_role("group", name=f"Answer {side}") for side in "AB")
    assert "steered: add concept3 at 15, 0.6" in steered.inner_text()
    assert "not steered" in unsteered.inner_text()
    assert [side.locator(".tok:not(.none)").count() for side in (steered, unsteered)] == [6, 6]
    assert texts(page)[3] != texts(page)[4]
    kept = texts(page)[4]
    page.get_by_role("button", name="Go on with B").click()
    assert texts(page)[3:] == [kept]
    before = texts(page), colours(page)
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_role("button", name="Send edited").click()
    answered(page)
    assert page.locator(".message").count() == 2
    assert tokens(page, 1).all_inner_texts() == plain, "without the dose that it had"
    page.get_by_role("button", name="Undo edit").click()
    assert (texts(page), colours(page)) == before
    path = saved(page, tmp_path / "saved.json")
    page.get_by_role("button", name="Delete").click()
    assert texts(page) == []
    page.locator("#file").set_input_files(path)
    page.locator("#said", has_text="Loaded 4 messages.").wait_for()
    assert (texts(page), colours(page)) == before
    page.reload()
    page.locator("#send:enabled").wait_for()
    assert (texts(page), colours(page)) == before


def test_steered_requests_share_cached_prefixes_with_their_like_only(server, answers):
    name, running = server
    if "no prefix" in name:
        pytest.skip("it has no cache")

    def ask(**more):
        answer = running.client.post("/v1/completions", json={**GREEDY, "prompt": PROMPTS[5], **more}).json()
        (sequence,) = running.client.get(f"/v1/readout/{answer['id']}").json()["sequences"]
        missing = sum(row is None for row in sequence["readout"][:-1])
        return answer["choices"][0]["token_ids"], missing

    steer = [{"concept": "concept7", "layer": 3, "dose": 0.41}]
    plain, cached = ask()
    steered, none = ask(steer=steer)
    assert plain == answers[0][5][0]["choices"][0]["token_ids"]
    assert (cached >= 128, none) == (True, 0)
    assert ask(steer=steer) == (steered, cached)
    assert ask() == (plain, cached)


def test_edits_that_cannot_be_made_are_refused_and_the_server_says_that_it_steers(server):
    _, running = server
    assert running.client.get("/v1/models").json()["data"][0]["steers"] is True
    joy = {"concept": "concept0", "layer": 14, "dose": 0.1}
    for more, said in (
        ({"steer": [joy | {"concept": "envy"}]}, "no such concept"),
        ({"steer": [joy | {"layer": 99}]}, "does not have the layer"),
        ({"steer": [joy | {"kind": "shout"}]}, "kind"),
        ({"steer": [joy] * 5}, "too many edits"),
        ({"steer": [joy], "use_beam_search": True}, "beam search"),
        ({"vllm_xargs": {"amygdala_tl_steer": [1]}}, "amygdala_tl_steer"),
    ):
        answer = running.client.post("/v1/completions", json={**GREEDY, "prompt": "One", **more})
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["error"]["message"]


def test_the_manifest_is_the_bundles_and_unknown_requests_are_404(server, bundle):
    _, running = server
    assert running.client.get("/v1/readout/manifest").json() == json.loads(bundle.with_suffix(".json").read_text())
    assert running.client.get("/v1/readout/cmpl-nothing").status_code == 404


def test_streamed_completions_carry_the_same_readouts(server, answers):
    _, running = server
    prompts = [PROMPTS[0], PROMPTS[6]]
    chunks = stream(running, "/v1/completions", {**GREEDY, "prompt": prompts, "stream": True})
    for index, whole in enumerate((answers[0][0][0], answers[0][6][0])):
        readouts = [
            row for chunk in chunks for row in chunk["choices"][0]["readout"] if chunk["choices"][0]["index"] == index
        ]
        expected = torch.tensor(whole["choices"][0]["readout"])
        assert relative(torch.tensor(readouts), expected) < 1e-4


def test_chat_carries_readouts_streamed_and_not(server, lens):
    _, running = server
    ask = {**GREEDY, "messages": [{"role": "user", "content": "Say hello to the sea."}]}
    whole = running.client.post("/v1/chat/completions", json=ask).json()
    (choice,) = whole["choices"]
    prompt, output = whole["prompt_token_ids"], choice["token_ids"]
    expected = lens(prompt + output)[len(prompt) - 1 : -1]
    assert relative(torch.tensor(choice["readout"]), expected) < 1e-4
    chunks = stream(running, "/v1/chat/completions", {**ask, "stream": True})
    assert "readout" not in chunks[0]["choices"][0]  # the role, before any token
    readouts = [row for chunk in chunks for row in chunk["choices"][0].get("readout", [])]
    assert relative(torch.tensor(readouts), expected) < 1e-4


def test_several_choices_each_carry_their_own(server, lens):
    _, running = server
    # No seed: a seeded request whose prompt is read in chunks ends vLLM 0.32 on a CPU ("CPU Generator does not use offset").
    ask = {**GREEDY, "prompt": PROMPTS[1], "n": 3, "temperature": 1.0}
    answer = running.client.post("/v1/completions", json=ask).json()
    kept = running.client.get(f"/v1/readout/{answer['id']}").json()
    assert [sequence["index"] for sequence in kept["sequences"]] == [0, 1, 2]
    assert len({tuple(choice["token_ids"]) for choice in answer["choices"]}) == 3
    for choice in answer["choices"]:
        prompt, output = choice["prompt_token_ids"], choice["token_ids"]
        assert relative(torch.tensor(choice["readout"]), lens(prompt + output)[len(prompt) - 1 : -1]) < 1e-4


def test_the_stream_tells_every_token_as_it_is_generated(server):
    _, running = server
    events, listening = [], threading.Event()

    def listen():
        with (
            httpx.Client(base_url=running.url, timeout=60, headers=running.client.headers, trust_env=False) as client,
            client.stream("GET", "/v1/readout/stream") as response,
        ):
            for line in response.iter_lines():
                listening.set()
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                    if sum(len(event["token_ids"]) for event in events) >= 10:
                        return

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(30)
    ask = {**GREEDY, "prompt": PROMPTS[2], "stream": True}
    chunks = stream(running, "/v1/completions", ask)
    thread.join(60)
    assert not thread.is_alive()
    assert [token for event in events for token in event["token_ids"]] == [
        token for chunk in chunks for token in chunk["choices"][0]["token_ids"]
    ]
    assert [row for event in events for row in event["readout"]] == [
        row for chunk in chunks for row in chunk["choices"][0]["readout"]
    ]


def test_a_cancelled_request_leaves_nothing_behind(server):
    _, running = server
    ask = {**GREEDY, "prompt": PROMPTS[3], "max_tokens": 500, "ignore_eos": True, "stream": True}
    with running.client.stream("POST", "/v1/completions", json=ask) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                request_id = json.loads(line.removeprefix("data: "))["id"]
                assert running.client.get(f"/v1/readout/{request_id}").status_code == 200
                break  # which closes the connection
    deadline = time.monotonic() + 60
    while running.client.get(f"/v1/readout/{request_id}").status_code != 404:
        assert time.monotonic() < deadline, "the rows of a cancelled request are still there"
        time.sleep(0.1)


def test_greedy_output_is_the_same_without_the_plugin_and_its_routes_are_404(server, answers):
    name, _ = server
    if name != "prefix cache":
        pytest.skip("one server without the plugin is enough")
    with vllm_server(*SETTINGS[name]) as plain:
        assert plain.client.get("/v1/readout/manifest").status_code == 404
        for prompt, (answer, _) in zip(PROMPTS, answers[0], strict=True):
            without = plain.client.post("/v1/completions", json={**GREEDY, "prompt": prompt}).json()
            assert without["choices"][0]["token_ids"] == answer["choices"][0]["token_ids"]
            assert "readout" not in without["choices"][0]
        with readout_client(plain.url) as client:
            with pytest.raises(ReadoutsOff, match="readouts are off"):
                client.manifest()
            with pytest.raises(ReadoutsOff):
                next(client.stream(reconnect=True))
        with terminal("watch", plain.url) as seen:
            seen.until("readouts are off on this server", "VLLM_READOUT_VECTORS")
            seen.press("q")
            assert seen.ended() == 0


def test_the_log_says_how_far_the_golden_texts_are_apart(server):
    _, running = server
    assert "golden check passed: the scores of the golden texts are " in running.log.read_text()
    assert running.metrics()["tokens_read_total"] > 0


def test_a_server_with_a_key_asks_for_it(server):
    name, running = server
    if "no prefix" not in name:
        pytest.skip("the other server has the key")
    for path in ("manifest", "stream", "cmpl-x"):
        assert httpx.get(f"{running.url}/v1/readout/{path}", timeout=60, trust_env=False).status_code == 401


def test_a_server_does_not_start_with_a_bundle_that_does_not_fit(tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=576, layers=(30,))
    expected = "does not fit the served model (got: 30 layers of 576; need: layer 30 of 576)"
    assert expected in refusal(bundle, "--enforce-eager")


def test_a_server_whose_layers_are_off_by_one_does_not_start(served_checkpoint, tmp_path):
    checkpoint = served_checkpoint("llama")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=64, layers=(1, 3))
    add_golden(bundle, model, AutoTokenizer.from_pretrained(checkpoint), PROMPTS[:2])
    (tmp_path / "sitecustomize.py").write_text(OFF_BY_ONE)
    said = refusal(bundle, "--enforce-eager", "--max-model-len", "512", model=checkpoint, PYTHONPATH=str(tmp_path))
    assert "the served model is not the one that the readout was made for" in said
    assert "VLLM_READOUT_TOLERANCE=" in said


def test_a_server_does_not_start_with_damaged_or_half_named_files(tmp_path):
    bundle = write_bundle(tmp_path / "r.safetensors", d_model=576, layers=(1,))
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bundle.write_bytes(data)
    assert "the vectors are not those the manifest was written for" in refusal(bundle)
    assert "one of the two readout variables is missing" in refusal(None, VLLM_READOUT_VECTORS=str(bundle))
