"""Directions of token subspaces: a naive loop over the tokens as oracle, and what a common mean does."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from amygdala_tl.activations.pooling import token_spread
from amygdala_tl.directions import mean, subspace
from amygdala_tl.directions.denoise.chain import denoise, parse_steps
from amygdala_tl.directions.token_subspaces import subspace_bases
from amygdala_tl.errors import FitError
from tests.directions.fitting import fit_directions, ungrouped

CONCEPTS = ("awe", "joy")
K, LAYERS, WIDTH = 2, 2, 8
SEEDS = st.integers(0, 10_000)
few = settings(max_examples=20, deadline=None)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def with_spread(values, positive, negative, k):
    """Data of tokens [text, token, layer, d_model], all of them read."""
    everything = torch.ones(values.shape[:3], dtype=torch.bool)
    data = ungrouped(values.mean(dim=1), positive, negative)
    return dataclasses.replace(data, spread=token_spread(values, everything, k))


def problem(seed, texts=30, tokens=7):
    """Random tokens and labels; some texts are neither. Each text has its own axes, so that subspaces differ."""
    generator = seeded(seed)
    label = torch.randint(-1, 2, (texts, len(CONCEPTS)), generator=generator)
    label[:2], label[2:4] = 1, -1
    axes = torch.randn(texts, K, LAYERS, WIDTH, generator=generator)
    loads = torch.randn(texts, tokens, K, generator=generator)
    values = torch.einsum("tpk,tkld->tpld", loads, axes) + 0.1 * torch.randn(
        texts, tokens, LAYERS, WIDTH, generator=generator
    )
    return values + 2.0, label == 1, label == -1


def planted(seed, texts=200, tokens=12, mean=0.0, nuisance=100.0, k=3):
    """Tokens of one layer: all spread along one huge direction, those of positive texts also along the concept's."""
    generator = seeded(seed)
    common, huge, truth = torch.linalg.qr(torch.randn(24, 3, generator=generator)).Q.T
    positive = torch.arange(texts)[:, None] % 2 == 0
    values = torch.randn(texts, tokens, 24, generator=generator) + mean * common
    values = values + nuisance * torch.randn(texts, tokens, 1, generator=generator) * huge
    felt = positive[:, :, None] * (1.0 + torch.randn(texts, tokens, 1, generator=generator))
    return with_spread((values + 3.0 * felt * truth)[:, :, None], positive, ~positive, k), truth


@few
@given(SEEDS)
def test_it_equals_a_naive_loop_over_tokens_up_to_the_eigenvectors_rounding(seed):
    values, positive, negative = problem(seed)
    estimate = subspace(with_spread(values, positive, negative, 7))
    origin = values.mean(dim=(0, 1))
    for concept in range(len(CONCEPTS)):
        for layer in range(LAYERS):
            sides = []
            for labels in (positive, negative):
                texts = labels[:, concept].nonzero()[:, 0].tolist()
                projectors = []
                for text in texts:
                    right = torch.linalg.svd((values[text, :, layer] - origin[layer]).double()).Vh[:7]
                    projectors.append(right.T @ right)
                sides.append((sum(projectors) / len(texts), values[texts].mean(dim=(0, 1))[layer]))
            difference = (sides[0][0] - sides[1][0]).float()
            vector = estimate.vectors[concept, layer]
            top = torch.linalg.eigvalsh(difference.double())[-1].float()
            torch.testing.assert_close(vector @ difference @ vector, top, rtol=1e-3, atol=1e-4)
            assert vector @ sides[0][1] > vector @ sides[1][1]
    torch.testing.assert_close(estimate.vectors.norm(dim=-1), torch.ones(len(CONCEPTS), LAYERS))


@few
@given(SEEDS)
def test_translating_activations_permuting_and_doubling_change_nothing_else(seed):
    values, positive, negative = problem(seed)
    data = with_spread(values, positive, negative, K)
    plain = subspace(data).vectors

    def same(vectors, reference):
        # Random subspaces may have two eigenvalues close together: their vectors then turn within their plane.
        return cosine_similarity(vectors, reference, dim=-1).median() > 0.999

    assert same(subspace(with_spread(values + 3.0, positive, negative, K)).vectors, plain)
    assert same(subspace(with_spread(20.0 * values, positive, negative, K)).vectors, plain)
    assert same(subspace(data.take(torch.randperm(30, generator=seeded(seed)))).vectors, plain)
    swapped = dataclasses.replace(data, positive=positive.flip(1), negative=negative.flip(1))
    torch.testing.assert_close(subspace(swapped).vectors, plain.flip(0))
    assert same(subspace(data.take(torch.arange(60) % 30)).vectors, plain)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_direction_is_found_under_one_huge_nuisance_direction(seed):
    data, truth = planted(seed)
    found = subspace(data)
    assert found.vectors[0, 0] @ truth > 0.9
    assert found.parameters["components"] == 3
    assert 0.0 < found.parameters["eigenvalue"][0] <= 1.0
    assert cosine_similarity(mean(data).vectors[0, 0], truth, dim=0) < found.vectors[0, 0] @ truth


def test_a_mean_that_all_texts_share_does_not_mix_with_the_concept():
    generator = seeded(5)
    common, truth = torch.linalg.qr(torch.randn(24, 2, generator=generator)).Q.T
    positive = torch.arange(200)[:, None] % 2 == 0
    values = 0.1 * torch.randn(200, 12, 24, generator=generator) + 20.0 * common + positive[:, :, None] * 2.0 * truth
    found = subspace(with_spread(values[:, :, None], positive, ~positive, 1)).vectors[0, 0]
    assert abs(float(found @ common)) < 0.1


@few
@given(SEEDS, st.integers(1, 6), st.integers(0, 10))
def test_a_text_s_spread_is_its_leading_principal_directions_as_long_as_the_deviation_along_them(seed, k, n_kept):
    tokens = torch.randn(1, 10, 1, WIDTH, generator=seeded(seed))
    mask = (torch.arange(10) < n_kept)[None, :, None]
    spread = token_spread(tokens, mask, k)[0, 0]
    rank = max(0, min(k, n_kept - 1, WIDTH))
    expected = torch.zeros(k)
    if n_kept > 1:
        kept = tokens[0, :n_kept, 0].double()
        covariance = torch.cov(kept.T, correction=0)
        expected[:rank] = torch.linalg.eigvalsh(covariance).flip(0)[:rank].float()
        along = torch.einsum("kd,de,ke->k", spread.double(), covariance, spread.double()).float()
        torch.testing.assert_close(along, expected.square(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(spread @ spread.T, torch.diag(expected), rtol=1e-3, atol=1e-3)


@few
@given(SEEDS)
def test_a_text_s_basis_spans_the_principal_directions_of_its_tokens_about_the_origin(seed):
    generator = seeded(seed)
    tokens = torch.randn(1, 5, 1, WIDTH, generator=generator)
    origin = torch.randn(WIDTH, generator=generator)
    spread = token_spread(tokens, torch.ones(1, 5, 1, dtype=torch.bool), 5)
    basis = subspace_bases(spread[:, 0], tokens[:, :, 0].mean(dim=1) - origin)[0]
    torch.testing.assert_close(basis @ basis.T, torch.eye(5), rtol=0, atol=1e-3)
    moved = tokens[0, :, 0] - origin
    torch.testing.assert_close(moved @ basis.T @ basis, moved, rtol=1e-3, atol=1e-3)


def test_a_text_s_spread_does_not_depend_on_its_batch_mates():
    tokens = torch.randn(3, 10, 2, WIDTH, generator=seeded(4))
    mask = torch.arange(10)[None, :, None] < torch.tensor([10, 4, 1])[:, None, None]
    mask = mask.expand(3, 10, 2)
    together = token_spread(tokens, mask, 3)
    for row in range(3):
        n = int(mask[row, :, 0].sum())
        alone = token_spread(tokens[row : row + 1, :n], mask[row : row + 1, :n], 3)[0]
        products = (spread.mT @ spread for spread in (together[row], alone))
        torch.testing.assert_close(*products, rtol=1e-4, atol=1e-5)


def test_denoisers_take_their_directions_off_the_tokens_too():
    values, positive, negative = problem(3)
    data = with_spread(values, positive, negative, K)
    denoised, removal, _ = denoise(data, values[:10].mean(dim=1), parse_steps("neutral-pca:0.5"))
    for layer in range(LAYERS):
        assert (removal.bases[layer] @ denoised.spread[:, layer].flatten(0, 1).T).abs().max() < 1e-4
        assert (removal.bases[layer] @ subspace(denoised).vectors[:, layer].T).abs().max() < 1e-3


def test_classes_with_the_same_subspaces_are_an_error_that_names_the_concept():
    values, positive, negative = problem(0)
    data = with_spread(values[:1].expand(len(values), -1, -1, -1), positive, negative, K)
    with pytest.raises(FitError, match=r"awe, joy.*zero"):
        fit_directions(subspace, data, CONCEPTS)


def test_without_token_directions_it_says_how_to_capture_them():
    values, positive, negative = problem(0)
    with pytest.raises(FitError, match="token_components"):
        subspace(ungrouped(values.mean(dim=1), positive, negative))


def test_the_sign_is_that_of_the_activations():
    values, positive, negative = problem(1)
    vectors = subspace(with_spread(values, positive, negative, K)).vectors
    torch.testing.assert_close(subspace(with_spread(-values, positive, negative, K)).vectors, -vectors)


def test_vectors_do_not_depend_on_the_length_of_tokens():
    values, positive, negative = problem(2)
    lengths = torch.linspace(0.1, 10.0, len(values))[:, None, None]
    data = with_spread(values, positive, negative, K)
    one = subspace_bases(data.spread[:, 0], data.activations[:, 0])
    other = subspace_bases(lengths * data.spread[:, 0], lengths[:, 0] * data.activations[:, 0])
    torch.testing.assert_close(one.mT @ one, other.mT @ other, rtol=1e-3, atol=1e-4)
