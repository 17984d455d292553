"""An evaluation of Inspect with the provider `readout`: every turn keeps its readouts, and the scorer takes their means."""

# ruff: noqa: E402  # nothing below can be imported without Inspect

import numpy as np
import pytest

from amygdala_tl import readout_client
from tests.serve.conftest import CONCEPTS, LAYERS

inspect_ai = pytest.importorskip("inspect_ai", reason="Inspect: pip install 'amygdala-tl[inspect]'")

from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, solver

from amygdala_tl.inspect_ai.scorer import readout_scores

QUESTIONS = ["How was your day?", "What did the tide bring?"]


@solver
def ask_again():
    async def solve(state, generate):
        state.messages.append(ChatMessageUser(content="Say more."))
        return await generate(state)

    return solve


def evaluated(model, scorer, folder):
    """The log of an evaluation with two turns a sample."""
    task = inspect_ai.Task(
        dataset=[Sample(input=text, target="day") for text in QUESTIONS],
        solver=[generate(), ask_again()],
        scorer=scorer,
        config=GenerateConfig(max_tokens=6, temperature=0, max_retries=0),
    )
    (log,) = inspect_ai.eval(task, model=model, log_dir=str(folder), display="none")
    return log


@pytest.fixture(scope="module")
def log(url, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        model = get_model("readout/embedded", base_url=f"{url}/v1")  # found by the entry point
        return evaluated(model, [readout_scores(), includes()], tmp_path_factory.mktemp("logs"))


def test_every_turn_keeps_its_readouts(log, url):
    assert log.status == "success", log.error
    with readout_client(url) as client:
        served = client.manifest()
    for sample in log.samples:
        turns = [message.metadata for message in sample.messages if message.role == "assistant"]
        assert len(turns) == 2
        for turn in turns:
            scores = np.array(turn["readout"], dtype=np.float32)
            n_tokens = len(scores)
            assert 1 <= n_tokens <= 6
            assert scores.shape[1:] == (len(LAYERS), len(CONCEPTS))
            assert (turn["readout_concepts"], turn["readout_layers"]) == (list(CONCEPTS), list(LAYERS))
            sums = np.array(turn["readout_combined"], dtype=np.float32)
            np.testing.assert_allclose(sums, served.combined.scores(scores), rtol=1e-4, atol=1e-3)
            z = served.combined.z(scores, tokens=1).mean(
                axis=0
            )  # linear, and this bundle has no calibration of lengths
            np.testing.assert_allclose(list(turn["readout_z"].values()), z, rtol=1e-3, atol=1e-3)


def test_a_sample_scores_the_mean_z_of_its_answers(log):
    for sample in log.samples:
        score = sample.scores["readout_scores"]
        turns = [message.metadata["readout_z"] for message in sample.messages if message.role == "assistant"]
        assert score.metadata["turns"] == turns
        assert score.value == pytest.approx({name: (turns[0][name] + turns[1][name]) / 2 for name in CONCEPTS})
    means = {score.name: score.metrics["mean"].value for score in log.results.scores if score.name in CONCEPTS}
    values = [sample.scores["readout_scores"].value for sample in log.samples]
    again = inspect_ai.score(log, readout_scores(), action="overwrite", display="none")  # of the log alone
    assert [sample.scores["readout_scores"].value for sample in again.samples] == values
    assert means == pytest.approx({name: np.mean([value[name] for value in values]) for name in CONCEPTS})


def test_answers_of_another_provider_have_no_such_score(url, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    plain = get_model("openai-api/served/embedded", base_url=f"{url}/v1", api_key="none")
    log = evaluated(plain, readout_scores(), tmp_path)
    assert log.status == "error"
    assert "no readouts over all layers" in log.error.message


def test_a_server_without_readouts_ends_the_evaluation_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    model = get_model("readout/embedded", base_url="http://127.0.0.1:9/v1")
    log = evaluated(model, readout_scores(), tmp_path)
    assert log.status == "error"
    assert "no answer" in log.error.message
