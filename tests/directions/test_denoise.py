"""Denoisers: projections with naive loops as oracles, planted nuisances, and the chain that a list of names makes."""

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch.nn.functional import cosine_similarity, normalize

from amygdala_tl.directions import LabelledActivations, Removal, grand_mean, massive, mean, neutral_pca, topic
from amygdala_tl.directions.denoise.chain import DENOISERS, DenoiseStep, denoise, denoise_vectors, parse_steps
from amygdala_tl.directions.denoise.removal import combine
from amygdala_tl.errors import FitError, InputError
from tests.directions.fitting import fit_directions, ungrouped

CONCEPTS = ("awe", "joy", "grief")
LAYERS, WIDTH = 2, 10
SEEDS = st.integers(0, 10_000)
few = settings(max_examples=20, deadline=None)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def problem(seed, texts=60, groups=12):
    """Activations with one massive dimension, a topic a group, labels, and neutral texts with spread of their own."""
    generator = seeded(seed)
    label = torch.randint(-1, 2, (texts, len(CONCEPTS)), generator=generator)
    label[:2], label[2:4] = 1, -1
    group = torch.arange(texts) % groups
    activations = torch.randn(texts, LAYERS, WIDTH, generator=generator)
    activations += 2.0 * torch.randn(groups, LAYERS, WIDTH, generator=generator)[group]
    neutral = torch.randn(30, LAYERS, WIDTH, generator=generator) * torch.linspace(1, 3, WIDTH)
    activations[..., 4] += 300.0
    neutral[..., 4] += 300.0
    return LabelledActivations(activations, label == 1, label == -1, group), neutral


def topic_of(data, share=0.5):
    """The topic of labelled activations."""
    return topic(data.activations, data.groups, data.positive, data.negative, share=share)


def projectors(removal):
    return torch.stack([basis.T @ basis for basis in removal.bases])


# --- What all removals are


@few
@given(SEEDS, st.sampled_from([*sorted(DENOISERS), "all"]))
def test_every_removal_is_an_orthonormal_idempotent_projection_that_a_direction_can_carry(seed, name):
    data, neutral = problem(seed)
    spec = ",".join(sorted(DENOISERS)) if name == "all" else name
    denoised, removal, _ = denoise(data, neutral, parse_steps(spec))
    assert any(len(basis) for basis in removal.bases)
    for basis in removal.bases:
        torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis)), rtol=0, atol=1e-5)
    torch.testing.assert_close(removal.apply(denoised.activations), denoised.activations, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(denoised.activations, removal.apply(data.activations))
    for layer, basis in enumerate(removal.bases):
        for text in range(3):
            naive = data.activations[text, layer].clone()
            for row in basis:
                naive -= (naive @ row) * row
            torch.testing.assert_close(denoised.activations[text, layer], naive, rtol=1e-3, atol=1e-3)


@few
@given(SEEDS, st.sampled_from(["sink", "neutral-pca", "topic", "sink,topic:0.3,neutral-pca:0.2", "sink,grand-mean"]))
def test_a_vector_scores_an_activation_as_it_scores_the_denoised_one(seed, spec):
    data, neutral = problem(seed)
    steps = parse_steps(spec)
    denoised, removal, _ = denoise(data, neutral, steps)
    vectors = denoise_vectors(mean(denoised).vectors, removal, steps)
    undenoised, of_denoised = (
        torch.einsum("tld,cld->tcl", each.activations.double(), vectors.double()) for each in (data, denoised)
    )
    torch.testing.assert_close(undenoised, of_denoised, rtol=1e-3, atol=1e-2)
    # A vector that an estimator left outside the space is brought back.
    outside = denoise_vectors(torch.randn(len(CONCEPTS), LAYERS, WIDTH, generator=seeded(seed)), removal, ())
    torch.testing.assert_close(removal.apply(outside), outside, rtol=1e-4, atol=1e-5)


@few
@given(SEEDS)
def test_combined_removals_remove_the_span_of_all_even_where_they_overlap(seed):
    generator = seeded(seed)
    one, other = (torch.linalg.qr(torch.randn(WIDTH, n, generator=generator)).Q.T for n in (2, 3))
    shared = normalize(one[:1] + 0.5 * one[1:], dim=1)
    both = combine([Removal((one,)), Removal((other,)), Removal((shared,)), Removal((one[:0],))])
    assert both.bases[0].shape == (5, WIDTH)
    torch.testing.assert_close(both.bases[0] @ both.bases[0].T, torch.eye(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        both.apply(torch.cat([one, other])[:, None]), torch.zeros(5, 1, WIDTH), rtol=0, atol=1e-5
    )
    again = combine([both, both])
    torch.testing.assert_close(projectors(again), projectors(both), rtol=0, atol=1e-5)


@few
@given(SEEDS, st.sampled_from(["neutral-pca", "topic"]))
def test_translation_and_the_order_of_texts_and_concepts_do_not_change_what_is_removed(seed, name):
    data, neutral = problem(seed)
    removal = projectors(denoise(data, neutral, parse_steps(name))[1])
    shift = 5.0 * torch.randn(LAYERS, WIDTH, generator=seeded(seed + 1))
    moved = LabelledActivations(data.activations + shift, data.positive, data.negative, data.groups)
    order, neutral_order = (torch.randperm(n, generator=seeded(seed)) for n in (len(data.groups), len(neutral)))
    shuffled = LabelledActivations(
        moved.activations[order], data.positive[order].flip(1), data.negative[order].flip(1), 99 - data.groups[order]
    )
    again = projectors(denoise(shuffled, neutral[neutral_order] + shift, parse_steps(name))[1])
    assert (again - removal).norm() < 0.01 * removal.norm()


@few
@given(SEEDS)
def test_doubling_the_texts_does_not_change_massive_dimensions_or_neutral_components(seed):
    # `topic` is left out on purpose: it takes off what chance explains, and two copies of a text look less like chance.
    data, neutral = problem(seed)
    twice = torch.cat([data.activations, data.activations])
    assert massive(twice).parameters == massive(data.activations).parameters
    once = neutral_pca(neutral)
    torch.testing.assert_close(
        projectors(neutral_pca(torch.cat([neutral, neutral]))), projectors(once), rtol=0, atol=1e-3
    )


# --- Each denoiser


@few
@given(SEEDS, st.sampled_from([0.2, 0.5, 0.9]))
def test_neutral_components_are_those_of_scikit_learn(seed, share):
    _, neutral = problem(seed)
    removal = neutral_pca(neutral, share)
    for layer in range(LAYERS):
        reference = PCA(n_components=share, svd_solver="full").fit(neutral[:, layer].double().numpy())
        assert removal.parameters["components"][layer] == reference.n_components_
        reached = reference.explained_variance_ratio_.sum()
        assert removal.parameters["share_reached"][layer] == pytest.approx(reached, abs=1e-3)
        assert share <= reached
        overlap = removal.bases[layer].double().numpy() @ reference.components_.T
        numpy.testing.assert_allclose(numpy.linalg.svd(overlap)[1], 1.0, atol=1e-2)


@few
@given(SEEDS)
def test_massive_dimensions_are_those_of_a_naive_loop(seed):
    generator = seeded(seed)
    activations = torch.randn(20, LAYERS, WIDTH, generator=generator)
    activations *= 10.0 ** torch.empty(LAYERS, WIDTH).uniform_(-1, 2, generator=generator)
    removal = massive(activations)
    for layer in range(LAYERS):
        moments = [sum(float(x) ** 2 for x in activations[:, layer, at]) for at in range(WIDTH)]
        median = sorted(moments)[(WIDTH - 1) // 2]
        expected = [at for at, moment in enumerate(moments) if moment > 100.0 * median]
        assert removal.parameters["dimensions"][layer] == expected
        left = removal.apply(activations)[:, layer]
        for at in range(WIDTH):
            assert torch.equal(left[:, at], torch.zeros(20) if at in expected else activations[:, layer, at])


@few
@given(SEEDS)
def test_topic_directions_are_those_of_a_naive_loop(seed):
    data, _ = problem(seed)
    data = data.take(torch.arange(60) != 11)
    data.groups[5] = 77  # a text alone: it says nothing of topics
    removal = topic_of(data, 0.5)
    for layer in range(LAYERS):
        design = numpy.concatenate([numpy.ones((59, 1)), data.positive.numpy() * 1.0 - data.negative.numpy()], axis=1)
        values = data.activations[:, layer].double().numpy()
        values = values - design @ numpy.linalg.lstsq(design, values, rcond=None)[0]
        members = {}
        for text, group in enumerate(data.groups.tolist()):
            members.setdefault(group, []).append(text)
        members = {group: texts for group, texts in members.items() if len(texts) > 1}
        grand = numpy.concatenate([values[texts] for texts in members.values()]).mean(axis=0)
        between, scatter, freedom = numpy.zeros((WIDTH, WIDTH)), numpy.zeros((WIDTH, WIDTH)), 0
        for texts in members.values():
            centre = values[texts].mean(axis=0)
            between += len(texts) * numpy.outer(centre - grand, centre - grand)
            scatter += (values[texts] - centre).T @ (values[texts] - centre)
            freedom += len(texts) - 1
        variances, axes = numpy.linalg.eigh(between)
        scatter, groups = scatter / freedom, len(members)
        total = numpy.trace(between) - (groups - 1) * numpy.trace(scatter)
        found = []
        for variance, axis in zip(variances, axes.T, strict=True):
            own = (groups - 1) * (axis @ scatter @ axis)
            if variance > (numpy.trace(scatter) ** 0.5 + own**0.5) ** 2:
                found.append((variance - numpy.trace(scatter) - own, axis))
        found.sort(key=lambda pair: -pair[0])
        expected, reached = numpy.zeros((WIDTH, WIDTH)), 0.0
        for excess, axis in found:
            if reached < 0.5 * total:
                expected, reached = expected + numpy.outer(axis, axis), reached + excess
        numpy.testing.assert_allclose(removal.bases[layer].T @ removal.bases[layer], expected, atol=2e-3)
        assert removal.parameters["share_reached"][layer] == pytest.approx(min(1.0, reached / total), abs=1e-3)


@few
@given(SEEDS)
def test_grand_mean_equals_a_naive_loop_and_ignores_lengths(seed):
    vectors = torch.randn(4, LAYERS, WIDTH, generator=seeded(seed))
    left = grand_mean(vectors)
    for layer in range(LAYERS):
        units = [vector / vector.norm() for vector in vectors[:, layer]]
        for concept in range(4):
            torch.testing.assert_close(left[concept, layer], units[concept] - sum(units) / 4, rtol=1e-4, atol=1e-6)
    lengths = torch.empty(4, 1, 1).uniform_(0.1, 100.0, generator=seeded(seed))
    torch.testing.assert_close(grand_mean(lengths * vectors), left, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(grand_mean(vectors.flip(0)), left.flip(0), rtol=1e-4, atol=1e-6)


def test_a_zero_vector_stays_the_only_one_that_grand_mean_cannot_use():
    vectors = torch.randn(4, LAYERS, WIDTH, generator=seeded(0))
    vectors[2] = 0.0
    left = grand_mean(vectors)
    assert torch.isnan(left[2]).all()
    torch.testing.assert_close(left[[0, 1, 3]], grand_mean(vectors[[0, 1, 3]]))


# --- What they are for


def nuisance(seed, texts=600, groups=40):
    """One concept of effect 1 under one direction 50 times as wide, which also spreads neutral texts and tells groups apart."""
    generator = seeded(seed)
    huge, truth = torch.linalg.qr(torch.randn(24, 2, generator=generator)).Q.T
    positive = torch.rand(texts, 1, generator=generator) < 0.5
    group = torch.randint(groups, (texts,), generator=generator)
    wide = 50.0 * torch.randn(groups, 1, generator=generator)[group]
    activations = 0.3 * torch.randn(texts, 24, generator=generator) + wide * huge + positive * truth
    neutral = 0.3 * torch.randn(50, 24, generator=generator) + 50.0 * torch.randn(50, 1, generator=generator) * huge
    return LabelledActivations(activations[:, None], positive, ~positive, group), neutral[:, None], truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("spec", "least"), [("neutral-pca", 0.95), ("topic", 0.95), ("neutral-pca:0.9,topic:0.9", 0.85)]
)
def test_the_mean_finds_a_planted_direction_under_one_huge_nuisance_only_when_denoised(seed, spec, least):
    data, neutral, truth = nuisance(seed)
    assert cosine_similarity(mean(data).vectors[0, 0], truth, dim=0).abs() < 0.7
    steps = parse_steps(spec)
    denoised, removal, _ = denoise(data, neutral, steps)
    vectors = denoise_vectors(mean(denoised).vectors, removal, steps)
    assert cosine_similarity(vectors[0, 0], truth, dim=0) > least


def test_an_emotion_that_coincides_with_a_day_is_not_taken_for_its_topic():
    generator = seeded(3)
    day = torch.arange(200) % 10
    truth, other = torch.linalg.qr(torch.randn(24, 2, generator=generator)).Q.T
    positive = (day == 4)[:, None]
    activations = 0.3 * torch.randn(200, 24, generator=generator) + 5.0 * positive * truth
    activations = activations + torch.randn(10, 1, generator=generator)[day] * other
    data = LabelledActivations(activations[:, None], positive, ~positive, day)
    removal = topic_of(data, 0.5)
    assert removal.apply(truth[None, None]).norm() > 0.95
    assert removal.apply(other[None, None]).norm() < 0.5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("groups", "width"), [(100, 200), (100, 20), (5, 50)])
def test_groups_that_differ_by_chance_alone_have_no_topic(seed, groups, width):
    generator = seeded(seed)
    uneven = torch.linspace(1.0, 5.0, width)
    activations = torch.randn(300, 1, width, generator=generator) * uneven
    some = torch.rand(300, 1, generator=generator) < 0.5
    removal = topic(activations, torch.arange(300) % groups, some, ~some, share=0.9)
    assert removal.parameters["between_groups"][0] < 0.05
    assert removal.parameters["components"] == [0]


def test_a_massive_dimension_no_longer_decides_scores():
    data, neutral = problem(2)
    denoised, removal, parameters = denoise(data, neutral, parse_steps("sink"))
    assert parameters == [{"name": "sink", "dimensions": [[4], [4]]}]
    assert removal.parameters == {}
    assert denoised.activations.abs().max() < 20.0 < data.activations.abs().max()


def test_grand_mean_lowers_the_cosine_between_concepts_that_share_a_direction():
    vectors = torch.randn(5, 1, 50, generator=seeded(4)) + 3.0
    left = grand_mean(vectors)[:, 0]
    off_diagonal = ~torch.eye(5, dtype=torch.bool)
    before, after = (normalize(each) @ normalize(each).T for each in (vectors[:, 0], left))
    assert before[off_diagonal].mean() > 0.8 > 0.1 > after[off_diagonal].mean()


# --- The chain


def test_each_step_is_fitted_on_what_the_one_before_left():
    data, neutral = problem(0)
    first = neutral_pca(neutral, 0.5)
    left = LabelledActivations(first.apply(data.activations), data.positive, data.negative, data.groups)
    second = topic_of(left, 0.4)
    _, removal, parameters = denoise(data, neutral, parse_steps("neutral-pca:0.5,topic:0.4"))
    assert parameters == [{"name": "neutral-pca", **first.parameters}, {"name": "topic", **second.parameters}]
    torch.testing.assert_close(projectors(removal), projectors(first) + projectors(second), rtol=0, atol=1e-3)
    swapped = denoise(data, neutral, parse_steps("topic:0.4,neutral-pca:0.5"))[1]
    assert (projectors(swapped) - projectors(removal)).norm() > 0.1


def test_no_steps_change_nothing():
    data, neutral = problem(0)
    same, removal, parameters = denoise(data, neutral, parse_steps(""))
    assert torch.equal(same.activations, data.activations)
    assert [len(basis) for basis in removal.bases] == [0, 0]
    assert parameters == []
    vectors = mean(data).vectors
    assert torch.equal(denoise_vectors(vectors, removal, ()), vectors)


def test_steps_are_parsed_with_their_defaults_and_print_as_they_are_written():
    steps = parse_steps(" sink, neutral-pca:0.3,topic ,grand-mean")
    assert steps == (
        DenoiseStep("sink"),
        DenoiseStep("neutral-pca", 0.3),
        DenoiseStep("topic", 0.5),
        DenoiseStep("grand-mean"),
    )
    assert ",".join(map(str, steps)) == "sink,neutral-pca:0.3,topic:0.5,grand-mean"
    assert parse_steps(",".join(map(str, steps))) == steps


@pytest.mark.parametrize(
    "spec", ["pca", "sink,", "neutral-pca:", "topic:1.5", "topic:nan", "topic:0", "sink:3", "topic:half", ":", "Sink"]
)
def test_what_is_no_step_is_refused_with_the_names(spec):
    with pytest.raises(InputError, match=r"sink, neutral-pca\[:0\.5\], topic\[:0\.5\], grand-mean"):
        parse_steps(spec)


@given(st.text(alphabet="sinkgrdmeatopcul-:,.0519 ", max_size=30))
def test_any_text_gives_steps_or_an_input_error(spec):
    try:
        steps = parse_steps(spec)
    except InputError:
        return
    assert parse_steps(",".join(map(str, steps))) == steps


def test_a_denoiser_that_is_named_twice_is_refused():
    with pytest.raises(InputError, match="topic"):
        parse_steps("topic,sink,topic:0.3")


def test_too_few_neutral_texts_groups_or_concepts_are_errors_with_a_remedy():
    data, neutral = problem(0)
    with pytest.raises(FitError, match=r"9 neutral texts.*10 or more.*leave neutral-pca out"):
        denoise(data, neutral[:9], parse_steps("neutral-pca"))
    alone = ungrouped(data.activations, data.positive, data.negative)
    with pytest.raises(FitError, match=r"0 groups.*same group"):
        topic_of(alone)
    with pytest.raises(FitError, match=r"2 concepts.*3 or more"):
        grand_mean(mean(data).vectors[:2])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    data, neutral = problem(0)
    for fit in (lambda: neutral_pca(neutral, share), lambda: topic_of(data, share)):
        with pytest.raises(InputError, match="between 0 and 1"):
            fit()


def test_denoising_all_there_is_leaves_no_direction_and_says_so():
    data, _ = problem(0)
    everything = Removal(tuple(torch.eye(WIDTH) for _ in range(LAYERS)))
    nothing_left = ungrouped(everything.apply(data.activations), data.positive, data.negative)
    with pytest.raises(FitError, match="zero"):
        fit_directions(mean, nothing_left, CONCEPTS)
