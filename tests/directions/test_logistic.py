"""Logistic regressions with both penalties: scikit-learn and steering-vectors as oracles, their algebra, and hard data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from amygdala_tl.directions import LabelledActivations, logistic, logistic_l1
from amygdala_tl.directions.design import Design
from amygdala_tl.directions.fista import minimise_sparse
from amygdala_tl.directions.lbfgs import minimise
from amygdala_tl.directions.problems import LOGISTIC, Problems
from amygdala_tl.errors import FitError
from tests.directions.fitting import fit_directions, ungrouped

BOTH = pytest.mark.parametrize("estimator", [logistic, logistic_l1], ids=["ridge", "l1"])
SEEDS = st.integers(0, 10_000)
CONCEPTS = ("awe", "joy", "grief")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors here are so small that threads only wait for each other: four times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(seed, texts=120, layers=2, d_model=10, share=0.2, dtype=torch.float64):
    """Correlated activations about a mean far from 0, labels with some texts of neither class, and the planted directions."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d_model, d_model, generator=generator)
    activations = torch.randn(texts, layers, d_model, generator=generator) @ mixing + 20.0
    positive = torch.rand(texts, 3, generator=generator) < share
    positive[:4], positive[4:8] = True, False
    negative = ~positive & (torch.rand(texts, 3, generator=generator) < 0.9)
    negative[4:8] = True
    planted = torch.randn(3, layers, d_model, generator=generator)
    activations = activations + torch.einsum("tc,cld->tld", positive.float(), planted)
    return ungrouped(activations.to(dtype), positive, negative), planted


def paired(seed, pairs, concepts=3, layers=2, d_model=12):
    """Contrast pairs, other ones for every concept, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    texts = concepts * pairs * 2
    scene = torch.randn(concepts * pairs, layers, d_model, generator=generator).repeat_interleave(2, dim=0)
    activations = 5.0 * scene + 0.3 * torch.randn(texts, layers, d_model, generator=generator)
    positive, negative = torch.zeros(texts, concepts, dtype=torch.bool), torch.zeros(texts, concepts, dtype=torch.bool)
    for concept in range(concepts):
        rows = slice(concept * pairs * 2, (concept + 1) * pairs * 2)
        positive[rows, concept] = torch.arange(pairs * 2) % 2 == 0
        negative[rows, concept] = torch.arange(pairs * 2) % 2 == 1
    direction = torch.randn(concepts, layers, d_model, generator=generator)
    activations = activations + 0.4 * torch.einsum("tc,cld->tld", positive.float(), direction)
    order = torch.randperm(texts, generator=generator)
    groups = torch.arange(texts) // 2
    return LabelledActivations(activations[order], positive[order], negative[order], groups[order])


def cosines(one, other):
    return F.cosine_similarity(one.double(), other.double(), dim=-1)


def sklearn_fit(data, concept, layer, strength, l1):
    """scikit-learn's weights in the standardised space, its objective, and the objective of other weights."""
    used = (data.positive | data.negative).any(dim=1)
    values = data.activations[used, layer].double()
    rows = ((values - values.mean(dim=0)) / values.std(dim=0, correction=0)).numpy()
    labelled = (data.positive | data.negative)[used, concept].numpy()
    label = data.positive[used, concept].numpy()[labelled]
    rows = rows[labelled]
    model = LogisticRegression(
        C=strength,
        class_weight="balanced",
        **({"penalty": "l1", "l1_ratio": 1.0} if l1 else {}),
        solver="saga" if l1 else "lbfgs",
        tol=1e-10,
        max_iter=50_000,
    ).fit(rows, label)
    weights = np.where(label, len(label) / (2 * label.sum()), len(label) / (2 * (~label).sum()))

    def objective(coefficients, intercept):
        losses = np.logaddexp(0, -np.where(label, 1, -1) * (rows @ coefficients + intercept))
        norm = np.abs(coefficients).sum() if l1 else 0.5 * coefficients @ coefficients
        return strength * (weights * losses).sum() + norm

    def best_objective(coefficients):
        """With the intercept that suits these weights, which an estimate does not carry."""
        grid = [objective(coefficients, model.intercept_[0] + step) for step in np.linspace(-0.05, 0.05, 201)]
        return min(grid)

    scale = values.std(dim=0, correction=0).numpy()
    return model.coef_[0], objective(model.coef_[0], model.intercept_[0]), best_objective, scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strength", [0.01, 1.0])
@BOTH
def test_unpaired_weights_and_objective_are_scikit_learns(estimator, strength, dtype):
    l1 = estimator is logistic_l1
    strength = 10 * strength if l1 else strength
    data, _ = problem(0, dtype=dtype)
    vectors = estimator(data, strength=strength).vectors
    for concept in range(3):
        for layer in range(2):
            expected, objective, objective_of, scale = sklearn_fit(data, concept, layer, strength, l1)
            found = vectors[concept, layer].double().numpy() * scale
            assert objective_of(found) <= objective * (1 + 1e-4)
            assert found @ expected >= 0.999 * np.linalg.norm(found) * np.linalg.norm(expected)
            if l1:
                assert ((found != 0) == (expected != 0)).all()
    if l1:
        assert (vectors == 0).any()


@pytest.mark.parametrize("pairs", [8, 40], ids=["fewer pairs than dimensions", "more pairs"])
@BOTH
def test_paired_directions_are_those_of_the_installed_steering_vectors(estimator, pairs):
    reason = "steering-vectors is not installed: pip install --no-deps steering-vectors==0.12.2"
    aggregators = pytest.importorskip("steering_vectors.aggregators", reason=reason)
    settings_ = {"tol": 1e-8, "max_iter": 100_000}
    if estimator is logistic_l1:
        settings_ |= {"penalty": "l1", "l1_ratio": 1.0, "solver": "liblinear"}
    reference = aggregators.logistic_aggregator(settings_)
    data = paired(1, pairs)
    estimate = estimator(data)
    for concept in range(3):
        by_group = data.groups.argsort(stable=True)
        plus = by_group[data.positive[by_group, concept]]
        minus = by_group[data.negative[by_group, concept]]
        for layer in range(2):
            expected = reference(data.activations[plus, layer], data.activations[minus, layer])
            assert cosines(estimate.vectors[concept, layer], expected) >= 0.999


@BOTH
def test_paired_and_unpaired_concepts_can_stand_in_one_corpus(estimator):
    alone = paired(2, pairs=20, concepts=1)
    positive = torch.cat([alone.positive, torch.rand(40, 1, generator=torch.Generator().manual_seed(0)) < 0.3], dim=1)
    negative = torch.cat([alone.negative, ~positive[:, 1:]], dim=1)
    mixed = LabelledActivations(alone.activations, positive, negative, alone.groups)
    estimate = estimator(mixed)
    torch.testing.assert_close(estimate.vectors[:1], estimator(alone).vectors)
    single = LabelledActivations(alone.activations, positive[:, 1:], negative[:, 1:], alone.groups)
    torch.testing.assert_close(estimate.vectors[1:], estimator(single).vectors)


STRENGTHS = {logistic: 0.1, logistic_l1: 0.5}


def directions(estimator, data, strength=None):
    strength = STRENGTHS[estimator] if strength is None else strength
    return fit_directions(lambda some: estimator(some, strength=strength), data, CONCEPTS)[0]


@BOTH
@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_translating_and_permuting_and_doubling_change_nothing_else(estimator, seed):
    data, _ = problem(seed)
    plain = directions(estimator, data)
    generator = torch.Generator().manual_seed(seed)
    shift = 10.0 * torch.randn(10, generator=generator).double()
    order = torch.randperm(len(data.groups), generator=generator)
    moved = ungrouped(data.activations + shift, data.positive, data.negative)
    shuffled = ungrouped(data.activations[order], data.positive[order], data.negative[order])
    swapped = ungrouped(data.activations, data.positive[:, [2, 0, 1]], data.negative[:, [2, 0, 1]])
    doubled = ungrouped(*(torch.cat([part, part]) for part in (data.activations, data.positive, data.negative)))
    close = {"rtol": 0.0, "atol": 2e-3}
    torch.testing.assert_close(directions(estimator, moved), plain, **close)
    torch.testing.assert_close(directions(estimator, shuffled), plain, **close)
    torch.testing.assert_close(directions(estimator, swapped), plain[[2, 0, 1]], **close)
    # Twice the texts weigh twice as much against the penalty: half the strength undoes it.
    torch.testing.assert_close(directions(estimator, doubled, STRENGTHS[estimator] / 2), plain, **close)


@BOTH
@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_a_planted_direction_is_found_under_one_huge_nuisance_direction(estimator, seed):
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(400, 1, generator=generator) < 0.2
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    if estimator is logistic_l1:  # it looks for directions of few coordinates
        basis[0] = F.one_hot(torch.tensor(2), 8)
        basis[1] = F.normalize(basis[1].index_fill(0, torch.tensor(2), 0.0), dim=0)
    activations = torch.randn(400, 1, 8, generator=generator)
    activations += positive[:, :, None] * 4.0 * basis[0]
    activations += 100.0 * torch.randn(400, 1, 1, generator=generator) * basis[1]
    data = ungrouped(activations, positive, ~positive)
    found = fit_directions(estimator, data, ("awe",))[0][0, 0]
    assert found @ basis[0] > 0.8


@BOTH
def test_one_positive_in_fifty_is_enough_with_balanced_classes(estimator):
    generator = torch.Generator().manual_seed(3)
    positive = (torch.arange(1020) % 51 == 0)[:, None]
    activations = torch.randn(1020, 1, 6, generator=generator)
    activations[:, 0, 2] += 3.0 * positive[:, 0]
    found = fit_directions(estimator, ungrouped(activations, positive, ~positive), ("awe",))[0][0, 0]
    assert found[2] > 0.9


@BOTH
@pytest.mark.parametrize("strength", [None, 1e4])
def test_separable_classes_do_not_diverge(estimator, strength):
    generator = torch.Generator().manual_seed(4)
    positive = (torch.arange(60) % 2 == 0)[:, None]
    activations = torch.randn(60, 1, 100, generator=generator)
    activations[:, 0, 0] += 20.0 * positive[:, 0]
    estimate = estimator(ungrouped(activations, positive, ~positive), strength=strength)
    assert torch.isfinite(estimate.vectors).all()
    assert "not_converged" not in estimate.parameters
    assert (((activations[:, 0] - activations.mean(dim=(0, 1))) @ estimate.vectors[0, 0] > 0) == positive[:, 0]).all()


@BOTH
def test_constant_features_get_no_weight_and_no_nan(estimator):
    data, _ = problem(5, dtype=torch.float32)
    data.activations[:, :, 3] = 1234.567
    vectors = estimator(data).vectors
    assert torch.isfinite(vectors).all()
    assert (vectors[:, :, 3] == 0).all()
    assert (vectors.norm(dim=-1) > 0).all()


@BOTH
def test_an_activation_that_is_not_finite_is_refused(estimator):
    data, _ = problem(6)
    data.activations[7, 1, 2] = torch.inf
    with pytest.raises(FitError, match=r"not finite.*text 7, layer number 1"):
        estimator(data)


@BOTH
def test_the_chosen_strength_is_reported_and_gives_the_same_vectors(estimator):
    data, _ = problem(7)
    estimate = estimator(data)
    for layer in range(2):
        strengths = estimate.parameters["strength"][layer]
        for concept, strength in enumerate(strengths if estimator is logistic_l1 else [strengths] * 3):
            again = estimator(data, strength=strength)
            assert cosines(again.vectors[concept, layer], estimate.vectors[concept, layer]) > 0.9999
        tried = estimate.parameters["tried_auroc"][layer]
        assert len(tried) >= 2
        assert all(0.0 <= auroc <= 1.0 for auroc in tried)


@BOTH
def test_texts_of_a_single_group_are_fitted_without_cross_validation(estimator):
    data, _ = problem(8)
    together = LabelledActivations(data.activations, data.positive, data.negative, torch.zeros_like(data.groups))
    estimate = estimator(together)
    assert torch.isfinite(estimate.vectors).all()
    assert not any(estimate.parameters.get("tried_auroc", []))


def test_a_fixed_penalty_that_leaves_nothing_names_its_concepts_and_cross_validation_never_chooses_one():
    data, _ = problem(9)
    with pytest.raises(FitError, match=r"awe, joy, grief.*zero"):
        fit_directions(lambda some: logistic_l1(some, strength=1e-6), data, CONCEPTS)
    for seed in range(3):
        noise, _ = problem(seed)
        noise = ungrouped(torch.randn_like(noise.activations), noise.positive, noise.negative)
        estimate = logistic_l1(noise)
        assert (estimate.vectors.norm(dim=-1) > 0).all()


def test_sparsity_is_the_share_of_coordinates_that_are_not_zero():
    data, _ = problem(10)
    estimate = logistic_l1(data, strength=0.2)
    shares = torch.tensor(estimate.parameters["sparsity"])
    torch.testing.assert_close(shares, (estimate.vectors != 0).float().mean(dim=-1).T)
    assert (shares < 1).any()


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 30), st.floats(0, 3), st.booleans())
def test_a_sparse_solution_meets_the_optimality_conditions_whatever_the_conditioning(seed, size, conditioning, shared):
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(size, size, generator=generator).double()).Q
    rows = torch.randn(2, 60, size, generator=generator).double() @ torch.diag(
        torch.logspace(0, -conditioning, size).double()
    )
    rows = (rows @ turn)[0] if shared else rows @ turn
    targets = torch.where(torch.rand(2, 60, generator=generator) < 0.3, 1.0, -1.0).double()
    weights = 3.0 * torch.rand(2, 60, generator=generator).double()
    penalty = torch.ones(size).double()
    penalty[-1] = 0.0
    solution, failed = minimise_sparse(Problems(Design(rows), LOGISTIC, targets, weights, penalty), tolerance=1e-6)
    assert failed == 0
    scores = torch.einsum("...tf,pf->pt", rows, solution) if shared else torch.einsum("ptf,pf->pt", rows, solution)
    slopes = -weights * targets / (1.0 + torch.exp(targets * scores))
    gradient = slopes @ rows if shared else torch.einsum("pt,ptf->pf", slopes, rows)
    held = (gradient + penalty * solution.sign())[solution != 0]
    assert held.numel() == 0 or held.abs().max() < 1e-5
    assert ((gradient.abs() - penalty)[solution == 0] < 1e-5).all()


@pytest.mark.parametrize("solver", [minimise, minimise_sparse])
def test_a_solver_that_is_stopped_early_says_how_many_problems_are_not_done(solver):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 5, generator=generator)
    targets = torch.where(torch.rand(2, 50, generator=generator) < 0.5, 1.0, -1.0)
    problems = Problems(Design(rows), LOGISTIC, targets, torch.ones(2, 50), torch.ones(5))
    assert solver(problems, max_iterations=1)[1] == 2
    assert solver(problems)[1] == 0
