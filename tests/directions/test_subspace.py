"""Directions of token subspaces: a naive loop as oracle, and what a common mean does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, normalize

from amygdala_tl.directions import LabelledActivations, fit_directions, ungrouped
from amygdala_tl.directions.subspace import subspace_directions, token_basis
from amygdala_tl.errors import FitError

CONCEPTS = ("awe", "joy")
K, LAYERS, WIDTH = 2, 2, 8
SEEDS = st.integers(0, 10_000)
few = settings(max_examples=20, deadline=None)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def problem(seed, texts=30):
    """Random subspaces, activations and labels; some texts are neither."""
    generator = seeded(seed)
    bases = torch.linalg.qr(torch.randn(texts, LAYERS, WIDTH, K, generator=generator)).Q.mT
    label = torch.randint(-1, 2, (texts, len(CONCEPTS)), generator=generator)
    label[:2], label[2:4] = 1, -1
    activations = torch.randn(texts, LAYERS, WIDTH, generator=generator)
    return bases, ungrouped(activations, label == 1, label == -1)


def planted(seed, texts=200, tokens=12, mean=0.0, nuisance=100.0):
    """Tokens of one layer: all spread along one huge direction, those of positive texts also along the concept's."""
    generator = seeded(seed)
    common, huge, truth = torch.linalg.qr(torch.randn(24, 3, generator=generator)).Q.T
    positive = torch.arange(texts)[:, None] % 2 == 0
    values = torch.randn(texts, tokens, 24, generator=generator) + mean * common
    values = values + nuisance * torch.randn(texts, tokens, 1, generator=generator) * huge
    felt = positive[:, :, None] * (1.0 + torch.randn(texts, tokens, 1, generator=generator))
    return values + 3.0 * felt * truth, ungrouped(values.mean(dim=1)[:, None], positive, ~positive), truth, common


def bases_of(values, k, origin=None):
    everything = torch.ones(values.shape[1], dtype=torch.bool)
    return torch.stack([token_basis(tokens, everything, k, origin) for tokens in values])[:, None]


@few
@given(SEEDS)
def test_it_equals_a_naive_loop_up_to_the_eigenvectors_rounding(seed):
    bases, data = problem(seed)
    estimate = subspace_directions(bases, data)
    for concept in range(len(CONCEPTS)):
        for layer in range(LAYERS):
            sides = []
            for labels in (data.positive, data.negative):
                texts = labels[:, concept].nonzero()[:, 0].tolist()
                projectors = [bases[text, layer].T @ bases[text, layer] for text in texts]
                sides.append((sum(projectors) / len(texts), data.activations[texts, layer].mean(dim=0)))
            difference = sides[0][0] - sides[1][0]
            vector = estimate.vectors[concept, layer]
            top = torch.linalg.eigvalsh(difference.double())[-1].float()
            torch.testing.assert_close(vector @ difference @ vector, top, rtol=1e-4, atol=1e-5)
            assert vector @ sides[0][1] > vector @ sides[1][1]
    torch.testing.assert_close(estimate.vectors.norm(dim=-1), torch.ones(len(CONCEPTS), LAYERS))


@few
@given(SEEDS)
def test_translating_activations_permuting_and_doubling_change_nothing_else(seed):
    bases, data = problem(seed)
    plain = subspace_directions(bases, data).vectors

    def same(vectors, reference):
        # Random subspaces may have two eigenvalues close together: their vectors then turn within their plane.
        return cosine_similarity(vectors, reference, dim=-1).median() > 0.999

    moved = ungrouped(data.activations + 3.0, data.positive, data.negative)
    torch.testing.assert_close(subspace_directions(bases, moved).vectors, plain)
    order = torch.randperm(len(bases), generator=seeded(seed))
    shuffled = ungrouped(data.activations[order], data.positive[order], data.negative[order])
    assert same(subspace_directions(bases[order], shuffled).vectors, plain)
    swapped = ungrouped(data.activations, data.positive.flip(1), data.negative.flip(1))
    torch.testing.assert_close(subspace_directions(bases, swapped).vectors, plain.flip(0))
    parts = (torch.cat([part, part]) for part in (data.activations, data.positive, data.negative))
    assert same(subspace_directions(torch.cat([bases, bases]), ungrouped(*parts)).vectors, plain)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_direction_is_found_under_one_huge_nuisance_direction(seed):
    values, data, truth, _ = planted(seed)
    data = LabelledActivations(values.mean(dim=1)[:, None], data.positive, data.negative, data.groups)
    found = subspace_directions(bases_of(values, 3), data)
    assert found.vectors[0, 0] @ truth > 0.95
    assert found.parameters["components"] == 3
    assert 0.0 < found.parameters["eigenvalue"][0] <= 1.0


def test_a_common_mean_mixes_with_the_concept_unless_it_is_taken_as_origin():
    generator = seeded(5)
    common, truth = torch.linalg.qr(torch.randn(24, 2, generator=generator)).Q.T
    positive = torch.arange(200)[:, None] % 2 == 0
    values = 0.1 * torch.randn(200, 12, 24, generator=generator) + 20.0 * common + positive[:, :, None] * 2.0 * truth
    data = ungrouped(values.mean(dim=1)[:, None], positive, ~positive)
    about_zero = subspace_directions(bases_of(values, 1), data).vectors[0, 0]
    assert abs(float(about_zero @ common)) > 0.6
    about_mean = subspace_directions(bases_of(values, 1, values[~positive[:, 0]].mean(dim=(0, 1))), data)
    assert about_mean.vectors[0, 0] @ truth > 0.95


@few
@given(SEEDS, st.integers(1, 6), st.integers(0, 10))
def test_a_text_s_basis_is_orthonormal_and_spans_its_leading_singular_directions(seed, k, n_kept):
    tokens = torch.randn(10, WIDTH, generator=seeded(seed))
    mask = torch.arange(10) < n_kept
    basis = token_basis(tokens, mask, k)
    rank = min(k, n_kept, WIDTH)
    expected = torch.diag((torch.arange(k) < rank).float())
    torch.testing.assert_close(basis @ basis.T, expected, rtol=0, atol=1e-3)
    if n_kept:
        singular = torch.linalg.svd(tokens[:n_kept]).S
        kept = (tokens[:n_kept] @ basis.T).square().sum()
        torch.testing.assert_close(kept, singular[:rank].square().sum(), rtol=1e-3, atol=1e-3)


def test_classes_with_the_same_subspaces_are_an_error_that_names_the_concept():
    bases, data = problem(0)
    same = bases[:1].expand(len(bases), -1, -1, -1)
    with pytest.raises(FitError, match=r"awe, joy.*zero"):
        fit_directions(lambda given_data: subspace_directions(same, given_data), data, CONCEPTS)


def test_subspaces_of_other_texts_or_layers_are_refused():
    bases, data = problem(0)
    with pytest.raises(FitError, match=r"do not belong together.*\[29, 2, 2, 8\].*\[30, 2, 8\]"):
        subspace_directions(bases[1:], data)
    with pytest.raises(FitError, match="do not belong together"):
        subspace_directions(bases[:, :1], data)


def test_the_sign_is_that_of_the_activations():
    bases, data = problem(1)
    flipped = ungrouped(-data.activations, data.positive, data.negative)
    torch.testing.assert_close(subspace_directions(bases, flipped).vectors, -subspace_directions(bases, data).vectors)


def test_vectors_do_not_depend_on_the_length_of_tokens():
    tokens = normalize(torch.randn(6, WIDTH, generator=seeded(2)), dim=-1)
    everything = torch.ones(6, dtype=torch.bool)
    small, large = (token_basis(scale * tokens, everything, K) for scale in (1.0, 300.0))
    torch.testing.assert_close(small.T @ small, large.T @ large, rtol=1e-3, atol=1e-4)
