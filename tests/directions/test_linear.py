"""Ridge regression on labels and grades: scikit-learn and steering-vectors as oracles, its algebra, and hard data."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from torch.linalg import vecdot
from torch.nn import functional as F

from amygdala_tl.directions import LabelledActivations, linear
from amygdala_tl.directions.conjugate_gradients import minimise_quadratic
from amygdala_tl.directions.design import Design, rotate
from amygdala_tl.directions.problems import SQUARED, Problems
from amygdala_tl.errors import FitError
from tests.directions.fitting import fit_directions, ungrouped

SEEDS = st.integers(0, 10_000)
CONCEPTS = ("awe", "joy")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors here are so small that threads only wait for each other: four times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(seed, texts=120, d_model=10, dtype=torch.float64):
    """Correlated activations about a mean far from 0, two layers; labels with some texts of neither class."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d_model, d_model, generator=generator)
    activations = torch.randn(texts, 2, d_model, generator=generator) @ mixing + 20.0
    positive = torch.rand(texts, 2, generator=generator) < 0.2
    positive[:4], positive[4:8] = True, False
    negative = ~positive & (torch.rand(texts, 2, generator=generator) < 0.9)
    negative[4:8] = True
    return ungrouped(activations.to(dtype), positive, negative)


def graded(data, seed, missing=0.0):
    """The same with grades, some of them unknown."""
    generator = torch.Generator().manual_seed(seed)
    grades = torch.where(data.positive, 0.5 + 0.5 * torch.rand(data.positive.shape, generator=generator), 0.0)
    grades[torch.rand(grades.shape, generator=generator) < missing] = torch.nan
    return LabelledActivations(data.activations, data.positive, data.negative, data.groups, grades)


def standardised(values):
    values = values.double()
    deviation = values.std(dim=0, correction=0)
    return ((values - values.mean(dim=0)) / deviation).numpy(), deviation.numpy()


def cosine(one, other):
    return one @ other / (np.linalg.norm(one) * np.linalg.norm(other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strength", [0.01, 10.0])
def test_weights_are_those_of_scikit_learns_ridge_with_balanced_classes(strength, dtype):
    data = problem(0, dtype=dtype)
    used = (data.positive | data.negative).any(dim=1)
    vectors = linear(data, strength=strength).vectors
    for layer in range(2):
        rows, deviation = standardised(data.activations[used, layer])
        for concept in range(2):
            labelled = (data.positive | data.negative)[used, concept].numpy()
            label = data.positive[used, concept].numpy()[labelled]
            weights = np.where(label, 0.5 / label.mean(), 0.5 / (~label).mean())
            signs = np.where(label, 1.0, -1.0)
            model = Ridge(alpha=1 / strength).fit(rows[labelled], signs, sample_weight=weights)
            found = vectors[concept, layer].double().numpy() * deviation
            assert cosine(found, model.coef_) >= 0.9999
            errors = [rows[labelled] @ coefficients - signs for coefficients in (found, model.coef_)]
            found_objective, objective = (
                strength * (weights * (error - np.average(error, weights=weights)) ** 2).sum() + norm
                for error, norm in zip(errors, (found @ found, model.coef_ @ model.coef_), strict=True)
            )
            assert found_objective <= objective * (1 + 1e-4)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_grades_are_regressed_on_where_they_are_known(missing):
    data = graded(problem(1), 1, missing)
    used = ((data.positive | data.negative) | ~torch.isnan(data.grades)).any(dim=1)
    vectors = linear(data, strength=0.5).vectors
    for layer in range(2):
        rows, deviation = standardised(data.activations[used, layer])
        for concept in range(2):
            grades = data.grades[used, concept].numpy()
            known = ~np.isnan(grades)
            model = Ridge(alpha=2.0).fit(rows[known], grades[known])
            found = vectors[concept, layer].double().numpy() * deviation
            np.testing.assert_allclose(found, model.coef_, rtol=1e-3, atol=1e-3 * np.abs(model.coef_).max())


@pytest.mark.parametrize("pairs", [8, 40], ids=["fewer pairs than dimensions", "more pairs"])
def test_paired_directions_are_those_of_the_installed_steering_vectors(pairs):
    # 0.12.2 has no public linear aggregator any more; the function behind its logistic one takes any regression.
    reason = "steering-vectors is not installed: pip install --no-deps steering-vectors==0.12.2"
    aggregators = pytest.importorskip("steering_vectors.aggregators", reason=reason)
    generator = torch.Generator().manual_seed(0)
    scene = 5.0 * torch.randn(pairs, 1, 12, generator=generator).repeat_interleave(2, dim=0)
    activations = scene + torch.randn(2 * pairs, 1, 12, generator=generator)
    positive = (torch.arange(2 * pairs) % 2 == 0)[:, None]
    activations[:, 0, 0] += positive[:, 0]
    data = LabelledActivations(activations, positive, ~positive, torch.arange(2 * pairs) // 2)
    expected = aggregators._get_normalized_regression_coef(
        activations[::2, 0], activations[1::2, 0], LinearRegression(fit_intercept=False)
    )
    found = linear(data).vectors[0, 0]
    assert F.cosine_similarity(found, expected, dim=0) >= 0.999
    halves = (activations[::2, 0] - activations[1::2, 0]) / 2
    ridge = Ridge(alpha=2.0, fit_intercept=False).fit(torch.cat([halves, -halves]), torch.ones(2 * pairs).index_fill(
        0, torch.arange(pairs, 2 * pairs), -1.0
    ))  # fmt: skip
    torch.testing.assert_close(
        linear(data, strength=0.5).vectors[0, 0], torch.tensor(ridge.coef_).float(), rtol=1e-3, atol=1e-4
    )


def test_equal_pairs_have_a_finite_solution_of_minimum_norm():
    half = torch.tensor([3.0, 4.0, 0.0])
    activations = torch.stack([half, -half] * 5)[:, None]
    positive = (torch.arange(10) % 2 == 0)[:, None]
    data = LabelledActivations(activations, positive, ~positive, torch.arange(10) // 2)
    torch.testing.assert_close(linear(data).vectors[0, 0], half / 25)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.booleans())
def test_translating_and_permuting_and_doubling_change_nothing_else(seed, with_grades):
    data = graded(problem(seed), seed, 0.2) if with_grades else problem(seed)

    def directions(activations, rows=slice(None), columns=slice(None), strength=0.3):
        some = LabelledActivations(
            activations[rows],
            data.positive[rows][:, columns],
            data.negative[rows][:, columns],
            torch.arange(len(activations[rows])),
            None if data.grades is None else data.grades[rows][:, columns],
        )
        return fit_directions(lambda given_: linear(given_, strength=strength), some, CONCEPTS)[0]

    generator = torch.Generator().manual_seed(seed)
    texts = len(data.groups)
    plain = directions(data.activations)
    close = {"rtol": 0.0, "atol": 2e-3}
    torch.testing.assert_close(
        directions(data.activations + 10.0 * torch.randn(10, generator=generator)), plain, **close
    )
    torch.testing.assert_close(directions(data.activations, torch.randperm(texts, generator=generator)), plain, **close)
    torch.testing.assert_close(directions(data.activations, columns=[1, 0]), plain[[1, 0]], **close)
    twice = torch.arange(texts).repeat(2)
    torch.testing.assert_close(directions(data.activations, twice, strength=0.15), plain, **close)


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_a_planted_direction_is_found_under_one_huge_nuisance_direction(seed):
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(400, 1, generator=generator) < 0.2
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    activations = torch.randn(400, 1, 8, generator=generator)
    activations += positive[:, :, None] * 4.0 * basis[0]
    activations += 100.0 * torch.randn(400, 1, 1, generator=generator) * basis[1]
    found = fit_directions(linear, ungrouped(activations, positive, ~positive), ("awe",))[0][0, 0]
    assert found @ basis[0] > 0.9


def test_one_positive_in_fifty_is_enough_with_balanced_classes():
    generator = torch.Generator().manual_seed(3)
    positive = (torch.arange(1020) % 51 == 0)[:, None]
    activations = torch.randn(1020, 1, 6, generator=generator)
    activations[:, 0, 2] += 3.0 * positive[:, 0]
    found = fit_directions(linear, ungrouped(activations, positive, ~positive), ("awe",))[0][0, 0]
    assert found[2] > 0.9


def test_fewer_texts_than_dimensions_and_constant_features_give_finite_vectors():
    data = problem(5, texts=20, d_model=60, dtype=torch.float32)
    data.activations[:, :, 3] = 1234.567
    for strength in (None, 1e5):
        estimate = linear(data, strength=strength)
        assert torch.isfinite(estimate.vectors).all()
        assert (estimate.vectors[:, :, 3] == 0).all()
        assert (estimate.vectors.norm(dim=-1) > 0).all()


def test_the_strength_is_chosen_once_a_layer_and_reported():
    data = problem(7)
    estimate = linear(data)
    for layer, strength in enumerate(estimate.parameters["strength"]):
        again = linear(data, strength=strength).vectors[:, layer]
        torch.testing.assert_close(again, estimate.vectors[:, layer], rtol=1e-3, atol=1e-4)
        assert len(estimate.parameters["tried_auroc"][layer]) >= 2


def test_an_activation_that_is_not_finite_is_refused():
    data = problem(6)
    data.activations[7, 1, 2] = torch.nan
    with pytest.raises(FitError, match=r"not finite.*text 7, layer number 1"):
        linear(data)


@pytest.mark.parametrize("shared", [True, False])
def test_conjugate_gradients_solve_the_normal_equations(shared):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 40, 12, generator=generator).double() * torch.logspace(0, 2, 12)
    rows = rows[0] if shared else rows
    targets, weights = torch.randn(3, 40, generator=generator).double(), torch.rand(3, 40, generator=generator).double()
    weights[2] = 0.0  # a problem without texts
    penalty = torch.ones(12).double()
    penalty[-1] = 0.0
    problems = Problems(Design(rows), SQUARED, targets, weights, penalty)
    found, failed = minimise_quadratic(problems, tolerance=1e-14)
    assert failed == 0
    each = rows.expand(3, -1, -1)
    squares = torch.einsum("ptf,pt,ptg->pfg", each, weights, each) + penalty.diag()
    expected = torch.linalg.lstsq(squares, torch.einsum("ptf,pt,pt->pf", each, weights, targets)[..., None]).solution
    torch.testing.assert_close(found[:2], expected[:2, :, 0], rtol=1e-5, atol=1e-7)
    assert (found[2] == 0).all()
    again, _ = minimise_quadratic(problems, found, tolerance=1e-12)
    assert torch.equal(again, found)
    early, failed = minimise_quadratic(problems, max_iterations=1)
    assert failed == 2
    value = problems.value_and_gradient(early, problems.design.scores(early))[0]
    assert (value[:2] < 0.5 * vecdot(weights * targets, targets)[:2]).all()


@pytest.mark.parametrize("texts", [60, 300], ids=["fewer texts than dimensions", "more"])
@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 100.0])
def test_conjugate_gradients_reach_the_objective_in_float32_whatever_the_penalty(texts, strength):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(texts, 120, generator=generator) * torch.logspace(0, -2, 120)
    rows = torch.cat(
        [rows @ torch.linalg.qr(torch.randn(120, 120, generator=generator))[0], torch.ones(texts, 1)], dim=1
    )
    targets = torch.where(torch.rand(4, texts, generator=generator) < 0.1, 1.0, -1.0)
    weights = strength * torch.where(targets > 0, 5.0, 0.6) * (torch.arange(texts) % 3 > 0)  # a third is held out
    penalty = torch.ones(121)
    penalty[-1] = 0.0
    turned, axes = rotate(Design(rows[:, :-1]))
    turned = turned.with_ones()
    of_axes = penalty[-turned.rows.shape[1] :]
    found, failed = minimise_quadratic(Problems(turned, SQUARED, targets, weights, of_axes))
    assert failed == 0
    found = torch.cat([axes.pull(found[:, :-1]), found[:, -1:]], dim=1).double()
    each, wide = rows.double(), weights.double()
    squares = torch.einsum("tf,pt,tg->pfg", each, wide, each) + penalty.double().diag()
    exact = torch.linalg.solve(squares, torch.einsum("tf,pt,pt->pf", each, wide, targets.double()))

    def objective(solution):
        errors = solution @ each.T - targets
        return (wide * errors.square()).sum(dim=1) + (penalty * solution.square()).sum(dim=1)

    assert (objective(found) <= objective(exact) * (1 + 1e-4)).all()


def test_conjugate_gradients_stop_when_the_best_step_gains_less_than_the_tolerance():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 30, generator=generator).double() * torch.logspace(1, -2, 30)
    rows = rows @ torch.linalg.qr(torch.randn(30, 30, generator=generator).double())[0]  # far from principal axes
    targets = torch.sign(torch.randn(1, 200, generator=generator)).double()
    penalty = torch.full((30,), 1e-3).double()
    problems = Problems(Design(rows), SQUARED, targets, torch.ones(1, 200).double(), penalty)

    def value(steps):
        point, _ = minimise_quadratic(problems, tolerance=0.0, max_iterations=steps)
        return float(problems.value_and_gradient(point, problems.design.scores(point))[0])

    values = [value(steps) for steps in range(1, 30)]
    gains = [(before - after) / before for before, after in pairwise(values)]
    tolerance = 3e-4
    found, failed = minimise_quadratic(problems, tolerance=tolerance)
    reached = float(problems.value_and_gradient(found, problems.design.scores(found))[0])
    stopped = next(step for step, gain in enumerate(gains) if gain <= tolerance)
    assert failed == 0
    assert reached == pytest.approx(values[stopped], rel=1e-9)
