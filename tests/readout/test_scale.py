"""The score over all layers: a sum with calibrations of its own, on simulated streams where the truth is known."""

import json
from dataclasses import replace

import pytest
import torch

from amygdala_tl.errors import ReadoutError
from amygdala_tl.readout.calibration import calibrate, calibrate_texts, calibrate_tokens
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.records import TokenPart
from tests.readout.example import a_readout

VECTORS = torch.nn.functional.normalize(torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
"""[layer, concept, d_model]"""

SPREAD = torch.tensor([1.0, 5.0, 30.0])[:, None]
"""Size of the streams at each layer: deeper ones are larger, and have to count no more."""


def texts_of(n, count, seed):
    """Tokens [text, token, layer, d_model] with something that all layers and all tokens of a text share."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(count, 1, 1, 8, generator=generator)
    noise = torch.randn(count, n, 3, 8, generator=generator)
    return (0.5 * own + noise + 2.0) * SPREAD


@pytest.fixture(scope="module")
def corpus():
    """Texts of 3 to 39 tokens, and a readout calibrated on them; one token in five is not readable at the last layer."""
    texts = [texts_of(n, 60, seed=n) for n in range(3, 40)]
    streams = torch.cat([some.mean(dim=1) for some in texts])
    counts = torch.cat([torch.full((60, 3), some.shape[1], dtype=torch.int32) for some in texts])
    tokens = torch.cat([some.flatten(0, 1) for some in texts])
    names = torch.arange(len(tokens))
    kept = [names, names, names[names % 5 > 0].flip(0)]
    parts = [
        TokenPart(layer, len(own), torch.ones(len(own)).double(), tokens[own, layer], own)
        for layer, own in enumerate(kept)
    ]
    scale, combined = calibrate([streams[:999], streams[999:]], parts, [(counts, streams)], VECTORS)
    readout = Readout(("awe", "joy"), (1, 2, 5), VECTORS, scale.texts, scale.tokens, length_calibration=scale.lengths)
    return replace(readout, combined=combined), streams, tokens, parts


def test_it_is_the_sum_of_scores_over_their_deviations_standardised(corpus):
    readout, streams, tokens, parts = corpus
    scores = readout.scores(streams).double()
    total = (scores / scores.std(dim=0)).sum(dim=1)
    expected = (total - total.mean(dim=0)) / total.std(dim=0)
    torch.testing.assert_close(
        readout.combined_z(readout.scores(streams), of="texts"), expected.float(), rtol=1e-4, atol=1e-4
    )
    of_tokens = (readout.scores(tokens).double() / scores.std(dim=0)).sum(dim=1)
    known = of_tokens[parts[2].names]
    expected = (of_tokens - known.mean(dim=0)) / known.std(dim=0, correction=0)
    assert readout.combined.scale.tokens.n == len(known)
    torch.testing.assert_close(readout.combined_z(readout.scores(tokens)), expected.float(), rtol=1e-4, atol=1e-4)


def test_the_layers_keep_the_calibrations_that_they_have_alone(corpus):
    readout, streams, _, parts = corpus
    for found, alone in (
        (readout.text_calibration, calibrate_texts([streams], VECTORS)),
        (readout.token_calibration, calibrate_tokens(parts, VECTORS)),
    ):
        torch.testing.assert_close(found.mean, alone.mean)
        torch.testing.assert_close(found.std, alone.std)
        assert found.n == alone.n


@pytest.mark.parametrize("n", [1, 5, 30])
def test_a_twentieth_of_unseen_texts_is_beyond_two_at_every_length(corpus, n):
    readout = corpus[0]
    means = texts_of(n, 2000, seed=100 + n).mean(dim=1)
    for tokens in (n, torch.full((2000, 3), n)):
        z = readout.combined_z(readout.scores(means), of="tokens" if n == 1 else "texts", tokens=tokens)
        assert float((z.abs() > 2).float().mean()) == pytest.approx(0.05, abs=0.02)


def test_a_readout_of_one_layer_has_that_layers_z(corpus):
    _, streams, _, parts = corpus
    scale, combined = calibrate([streams[:, 1:2]], [replace(parts[1], column=0)], None, VECTORS[1:2])
    readout = Readout(("awe", "joy"), (2,), VECTORS[1:2], scale.texts, scale.tokens, combined=combined)
    scores = readout.scores(streams[:, 1:2])
    torch.testing.assert_close(readout.combined_z(scores, of="texts"), readout.calibrated(scores, of="texts")[:, 0])


def test_tokens_without_names_give_no_combined_score(corpus):
    _, streams, _, parts = corpus
    scale, combined = calibrate([streams], [replace(part, names=None) for part in parts], None, VECTORS)
    assert combined is None
    assert scale.tokens is not None
    readout = Readout(("awe", "joy"), (1, 2, 5), VECTORS, scale.texts, scale.tokens)
    with pytest.raises(ReadoutError, match="no score over all layers"):
        readout.combined_z(readout.scores(streams))


def test_some_concepts_keep_their_combined_scores():
    whole = a_readout()
    part, scores = whole.of_concepts(["joy"]), torch.randn(4, 2, 3)
    counts = torch.tensor([[3, 2], [1, 1], [9, 9], [2, 4]])
    expected = whole.combined_z(scores, of="texts", tokens=counts)[:, 1:2]
    torch.testing.assert_close(part.combined_z(scores[:, :, 1:2], of="texts", tokens=counts), expected)


def test_a_bundle_keeps_it(tmp_path):
    readout, scores = a_readout(), torch.randn(5, 2, 3)
    loaded = load_readout(readout.save(tmp_path / "readout.safetensors"))
    for of in ("texts", "tokens"):
        torch.testing.assert_close(
            loaded.combined_z(scores, of=of, tokens=7), readout.combined_z(scores, of=of, tokens=7)
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda of: of["weights"].pop(), "weights of another shape"),
        (lambda of: of["weights"][1].pop(), "weights of another shape"),
        (
            lambda of: of["calibration"]["texts"]["mean"].append([0.0] * 3),
            "combined texts has another shape than 1 x 3",
        ),
        (lambda of: of["calibration"]["lengths"]["reach"].append(2.0), "combined lengths has no finite reach"),
        (lambda of: of["calibration"].update(tokens=None), "combined lengths is relative to that of tokens"),
    ],
)
def test_a_bundle_in_which_it_does_not_fit_is_refused(tmp_path, change, said):
    path = a_readout().save(tmp_path / "readout.safetensors")
    manifest = json.loads(path.with_suffix(".json").read_text())
    change(manifest["amygdala_tl"]["combined"])
    path.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(ReadoutError, match=said):
        load_readout(path)
