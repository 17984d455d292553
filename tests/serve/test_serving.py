"""The server with OpenAI's own client and with the live client: what it serves is what the lens reads of the same ids."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import openai
import pytest
import torch

from amygdala_tl import readout_client
from amygdala_tl.errors import KeyRefused, RequestUnknown
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.live.feed import Arrived, Feed
from amygdala_tl.serve.app import readout_app
from amygdala_tl.serve.guard import key_from_environment
from tests.serve.conftest import CONCEPTS, LAYERS
from tests.serve.openai_client import PROMPT, check_openai_client
from tests.servers import running_app

GREEDY = {"model": "embedded", "temperature": 0, "max_tokens": 5, "extra_body": {"return_token_ids": True}}
LONG = "The tide came in again, as it does. " * 20
JOY = {"concept": "joy", "layer": 14, "dose": 0.4}


@pytest.fixture(scope="module")
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def expected(embedded, readout):
    """Scores [token, layer, concept] of token ids in one whole pass."""
    return lambda ids: readout.scores(run_resid_post(embedded.model, torch.tensor([list(ids)]), LAYERS)[0]).numpy()


def apart(found, expected):
    """Largest difference, in units of the largest score of the token's layer."""
    found = np.asarray(found, dtype=np.float32)
    assert found.shape == expected.shape
    return float((np.abs(found - expected).max(axis=-1) / np.abs(expected).max(axis=-1)).max())


def streamed(chunks):
    """Text, ids and rows of the first choice of a streamed completion."""
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    text = "".join(choice.text for choice in choices)
    return text, [i for c in choices for i in c.token_ids], [row for c in choices for row in c.readout]


def test_a_completion_reads_every_token_as_the_lens_does(client, url, expected, embedded, readout):
    answer = client.completions.create(prompt=LONG, **GREEDY)  # longer than one step of the engine
    (choice,) = answer.choices
    ids = [*choice.prompt_token_ids, *choice.token_ids]
    assert choice.prompt_token_ids == embedded.tokenizer(LONG).input_ids
    assert (choice.finish_reason, answer.usage.completion_tokens) == ("length", 5)
    assert choice.text == embedded.tokenizer.decode(choice.token_ids)
    whole = expected(ids)
    n_prompt = len(choice.prompt_token_ids)
    assert n_prompt > 128
    assert apart(choice.readout, whole[n_prompt - 1 : -1]) < 1e-4
    over_all = readout.combined.scores(torch.from_numpy(whole)).numpy()
    assert apart(choice.readout_combined, over_all[n_prompt - 1 : -1]) < 1e-4
    with readout_client(url) as live:
        (sequence,) = live.request(answer.id)
        assert apart(sequence.combined[:-1], over_all[:-1]) < 1e-4
        assert (sequence.token_ids, sequence.prompt_tokens, sequence.finished) == (tuple(ids), n_prompt, True)
        assert apart(sequence.scores[:-1], whole[:-1]) < 1e-4
        assert np.isnan(sequence.scores[-1]).all(), "the last token is sampled and not run"
        with pytest.raises(RequestUnknown):
            live.request("cmpl-nothing")


def test_the_openai_client_works(url):
    check_openai_client(url, "embedded")


def test_a_chat_runs_in_the_template_and_shows_its_prompt(client, expected, embedded):
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hello <there>"}]}]
    said = {"model": "embedded", "messages": messages, "temperature": 0, "max_tokens": 4}
    whole = client.chat.completions.create(**said, extra_body={"return_token_ids": True, "return_tokens": True})
    (choice,) = whole.choices
    prompt = choice.prompt["tokens"]
    assert "<|im_start|>user\nHello <there><|im_end|>" in "".join(prompt)
    assert embedded.tokenizer("".join(prompt), add_special_tokens=False).input_ids == choice.prompt_token_ids
    assert apart(choice.prompt["readout"], expected(choice.prompt_token_ids)) < 1e-4


def test_several_prompts_and_choices_have_readouts_of_their_own(client, url):
    said = {"model": "embedded", "max_tokens": 3, "temperature": 1.0, "seed": 5}
    answer = client.completions.create(prompt=[PROMPT, "One"], n=2, **said)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in answer.choices}) > 2
    again = client.completions.create(prompt=[PROMPT, "One"], n=2, **said)
    assert [choice.text for choice in again.choices] == [choice.text for choice in answer.choices]
    with readout_client(url) as live:
        assert [(one.request_id[-2:], one.index) for one in live.request(answer.id)] == [
            ("-0", 0), ("-0", 1), ("-1", 0), ("-1", 1),
        ]  # fmt: skip


def test_a_stop_string_ends_the_text_before_it(client):
    whole = client.completions.create(prompt=PROMPT, **GREEDY | {"max_tokens": 8}).choices[0]
    stop = whole.text[4:8]
    ended = client.completions.create(prompt=PROMPT, stop=[stop, "never"], **GREEDY | {"max_tokens": 8}).choices[0]
    assert (ended.text, ended.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")
    assert len(ended.readout) == len(ended.token_ids) < 8


def test_a_steered_request_changes_itself_and_no_other(client, readout):
    def ask(**more):
        body = {"return_token_ids": True, **more}
        chunks = client.completions.create(prompt=PROMPT, **GREEDY | {"max_tokens": 8, "extra_body": body}, stream=True)
        return streamed(chunks)

    alone, steered_alone = ask(), ask(steer=[JOY])
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(ask), pool.submit(ask, steer=[JOY]), pool.submit(ask)]
        first, steered, second = (job.result(120) for job in jobs)
    assert first == second == alone
    assert steered == steered_alone
    column, joy = readout.layers.index(14), CONCEPTS.index("joy")
    shift = np.asarray(steered[2])[0, column, joy] - np.asarray(alone[2])[0, column, joy]
    assert shift > 0
    assert steered[2][0][0] == pytest.approx(alone[2][0][0], rel=1e-4), "layer 6 is below the edit"


def test_a_dose_is_in_units_of_the_mean_norm_and_edits_do_what_they_say(client, readout, embedded):
    from amygdala_tl.lens.decoder import decoder_of
    from amygdala_tl.steering.norms import mean_norms

    norm, column, joy = mean_norms(decoder_of(embedded), [14])[14], 1, CONCEPTS.index("joy")

    def score(*steer):
        body = {"steer": list(steer)}
        answer = client.completions.create(model="embedded", prompt=PROMPT, max_tokens=1, extra_body=body)
        return answer.choices[0].readout[0][column][joy]

    plain = score()
    written = float(readout.vectors[column, joy] @ readout.write_vectors[column, joy])
    assert 0.5 < written < 0.9
    assert score(JOY) - plain == pytest.approx(0.4 * norm * written, rel=5e-3)
    kept = float(readout.vectors[column, joy] @ readout.erasing.mean[column])
    assert abs(kept) > 0.02 * norm
    assert score(JOY | {"kind": "erase"}) == pytest.approx(kept, abs=5e-3 * norm)
    (model,) = client.models.list().data
    assert (model.steers, model.erases) == (True, True)
    assert score(JOY | {"kind": "clamp"}) == pytest.approx(0.4 * norm, rel=5e-3)


def test_the_live_client_and_feed_see_the_same_tokens(client, url):
    with readout_client(url) as live:
        served = live.manifest()
        assert (served.concepts, served.layers, live.served_model()) == (CONCEPTS, LAYERS, "embedded")
        assert served.combined is not None
    feed, arrived = Feed(readout_client(url)), []
    feed.start()
    time.sleep(1)
    _, ids, rows = streamed(client.completions.create(prompt=PROMPT, stream=True, **GREEDY))
    deadline = time.monotonic() + 20
    while sum(len(one.generated.token_ids) for one in arrived) < len(ids) and time.monotonic() < deadline:
        arrived += [update for update in feed.take() if isinstance(update, Arrived)]
        time.sleep(0.02)
    feed.stop()
    assert [token for one in arrived for token in one.generated.token_ids] == ids
    found = np.concatenate([one.generated.scores for one in arrived])
    assert found.tolist() == np.asarray(rows, dtype=np.float32).tolist()


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "x", "model": "another"}, 404, "model"),
        ({"prompt": "x", "temperature": -1}, 400, None),
        ({"prompt": "x", "logprobs": 3}, 400, "logprobs"),
        ({"prompt": ["x", "y"], "n": 9}, 400, "n"),
        ({"prompt": "x", "stop": ""}, 400, "stop"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [10**6]}, 400, "prompt"),
        ({"prompt": "x", "max_tokens": 10**6}, 400, "messages"),
        ({"prompt": "x", "steer": [JOY | {"concept": "envy"}]}, 400, "steer"),
        ({"prompt": "x", "steer": [JOY | {"layer": 3}]}, 400, "steer"),
        ({"prompt": "x", "steer": [JOY | {"kind": "shout"}]}, 400, None),
    ],
)
def test_what_cannot_be_done_is_an_error_in_the_shape_of_openais(url, body, status, param):
    answer = httpx.post(f"{url}/v1/completions", json=body, trust_env=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["message"]


def test_the_clients_own_errors_are_raised(client):
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(
            model="embedded",
            messages=[{"role": "user", "content": "x"}],
            tools=[{"type": "function", "function": {"name": "f"}}],
        )


def test_an_unknown_path_and_a_body_that_is_no_json_are_errors(url):
    assert httpx.get(f"{url}/v1/nothing", trust_env=False).json()["error"]["type"] == "not_found_error"
    assert httpx.post(f"{url}/v1/completions", content=b"{", trust_env=False).status_code == 400


def test_pages_of_another_origin_and_other_names_of_this_machine_are_refused(url):
    get = lambda **headers: httpx.get(f"{url}/v1/models", headers=headers, trust_env=False).status_code  # noqa: E731
    assert get() == get(origin=url) == 200
    assert get(origin="http://elsewhere.example") == get(host="elsewhere.example") == 403


def test_metrics_count_what_was_read_and_are_in_the_text_format(client, url):
    def read():
        lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
        return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    before = read()
    answer = client.completions.create(prompt=PROMPT, **GREEDY)
    name, n_read = "amygdala_tl_tokens_read_total", len(answer.choices[0].prompt_token_ids) + 4
    after = read()
    assert after[name] - before[name] == n_read
    assert after['amygdala_tl_sequences{state="running"}'] == 0
    assert after['amygdala_tl_failures_total{where="engine"}'] == 0


def test_more_sequences_than_take_turns_get_429_and_a_client_that_hangs_up_frees_its_place(
    embedded, readout, monkeypatch
):
    monkeypatch.setenv("AMYGDALA_SERVE_KEY", "a-key")
    app = readout_app(readout, embedded, key=key_from_environment(), most_sequences=2)
    with running_app(app) as url:
        with readout_client(url, token="wrong") as live, pytest.raises(KeyRefused):
            live.manifest()
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{url}/v1", api_key="wrong").models.list()
        assert httpx.get(url, trust_env=False).status_code == 200, "the page itself asks for the key"
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="a-key", max_retries=0)
        endless = {"prompt": PROMPT, **GREEDY, "max_tokens": 4000, "extra_body": {"ignore_eos": True}}
        stream = client.completions.create(stream=True, **endless)
        next(iter(stream))
        whole = threading.Thread(target=lambda: hang_up(url, endless))
        whole.start()
        time.sleep(0.5)
        with pytest.raises(openai.RateLimitError):
            client.completions.create(prompt=PROMPT, **GREEDY)
        stream.close()
        whole.join(20)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert client.completions.create(prompt=PROMPT, n=2, **GREEDY).usage.completion_tokens == 10
                break
            except openai.RateLimitError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def hang_up(url, said):
    """Ask for a whole answer, and leave after a second."""
    body = {name: value for name, value in said.items() if name != "extra_body"} | said["extra_body"]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{url}/v1/completions",
            content=json.dumps(body),
            headers={"Authorization": "Bearer a-key"},
            timeout=httpx.Timeout(20, read=1.5),
            trust_env=False,
        )
