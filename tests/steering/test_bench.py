"""What a bench measures equals a naive computation with whole forward passes, one arm at a time."""

import torch

from amygdala_tl.steering.arms import LayerMaterial, Readers, make_arms, orthogonal_to
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Add
from amygdala_tl.steering.hooks import intervene
from amygdala_tl.steering.words import concept_words

PROMPTS = [[5, 900, 77, 3000], [40, 8, 21, 9, 1111, 70]]
AMOUNTS = torch.tensor([1.0, -3.0, 0.5])
LAYER = 1


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=-1, keepdim=True)


DIRECTIONS = unit(3, 64)


def edits(rows):
    return {LAYER: [Add(DIRECTIONS[rows], amount=AMOUNTS[rows], where=NOT_FIRST)]}


def log_probabilities(model, prompt, arm=None):
    todo = {} if arm is None else edits(slice(arm, arm + 1))
    with torch.no_grad(), intervene(model, todo):
        return model.model(torch.tensor([prompt]))[0].double().log_softmax(dim=-1)


def test_the_shift_of_words_is_that_of_log_probabilities(model):
    words = concept_words(model.tokenizer, ("joy", "grief", "calm"))
    shift, reads = Bench(model, LAYER, PROMPTS).word_shift(words, 3, edits)
    assert reads is None
    for arm in range(3):
        for place, prompt in enumerate(PROMPTS):
            means = []
            for who in (None, arm):
                said = log_probabilities(model, prompt, who)[-1]
                means.append([float(said[words.tokens[words.share[:, c] > 0]].mean()) for c in range(3)])
            plain, steered = means
            for concept in range(3):
                own = steered[concept] - plain[concept]
                others = [steered[c] - plain[c] for c in range(3) if c != concept]
                assert abs(float(shift[arm, place, concept]) - (own - sum(others) / 2)) < 1e-3


def test_damage_is_the_divergence_and_the_rise_of_the_loss(model):
    harm = Bench(model, LAYER, PROMPTS).damage(3, edits)
    for arm in range(3):
        kl, loss, tokens = 0.0, 0.0, 0
        for prompt in PROMPTS:
            plain, steered = log_probabilities(model, prompt), log_probabilities(model, prompt, arm)
            for position in range(1, len(prompt) - 1):
                kl += float((plain[position].exp() * (plain[position] - steered[position])).sum())
                loss += float(plain[position, prompt[position + 1]] - steered[position, prompt[position + 1]])
                tokens += 1
        assert abs(float(harm.kl[arm]) - kl / tokens) < 1e-3
        assert abs(float(harm.loss[arm]) - loss / tokens) < 1e-3


def test_a_readout_at_the_next_layer_sees_the_mean_shift_of_the_stream(model):
    from amygdala_tl.lens.residuals import run_resid_post

    words = concept_words(model.tokenizer, ("joy", "grief"))
    readers = Readers(LAYER + 1, unit(2, 2, 64, seed=4), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    _, reads = Bench(model, LAYER, PROMPTS, readers=readers).word_shift(words, 3, edits)
    expected = torch.zeros(2, 2)
    for prompt in PROMPTS:
        tokens = torch.tensor([prompt])
        plain = run_resid_post(model.model, tokens, [LAYER + 1])
        with intervene(model, edits(slice(1, 2))):
            steered = run_resid_post(model.model, tokens, [LAYER + 1])
        moved = (steered - plain)[0, 1:, 0].mean(dim=0)
        expected += readers.vectors @ moved / readers.deviation / len(PROMPTS)
    torch.testing.assert_close(reads[1], expected, rtol=1e-3, atol=1e-4)


def test_arms_do_not_depend_on_what_else_is_in_the_batch(model):
    words = concept_words(model.tokenizer, ("joy", "grief"))
    bench = Bench(model, LAYER, PROMPTS)
    together, _ = bench.word_shift(words, 3, edits)
    alone, _ = bench.word_shift(words, 1, lambda rows: edits(slice(2, 3)))
    torch.testing.assert_close(together[2:], alone, rtol=1e-4, atol=1e-4)


def test_controls_have_unit_length_and_orthogonal_ones_no_part_of_the_concepts():
    concepts = unit(5, 64, seed=1)
    material = LayerMaterial(3, concepts, halves=unit(2, 5, 64), shuffled=unit(7, 64))
    arms = make_arms(material, 20, torch.Generator().manual_seed(0))
    assert [arms.kinds.count(kind) for kind in ("concept", "half 0", "half 1", "random", "orthogonal", "shuffled")] == [
        5, 5, 5, 20, 20, 7,
    ]  # fmt: skip
    torch.testing.assert_close(arms.directions.norm(dim=-1), torch.ones(62))
    orthogonal = arms.directions[arms.rows("orthogonal")]
    assert (orthogonal @ concepts.T).abs().max() < 1e-6
    assert (arms.directions[arms.rows("random")] @ concepts.T).abs().max() > 1e-2


def test_damage_is_measured_for_concepts_and_for_twenty_isotropic_directions_at_most():
    material = LayerMaterial(3, unit(5, 64), halves=unit(2, 5, 64), shuffled=unit(7, 64))
    for random in (3, 30):
        arms = make_arms(material, random, torch.Generator().manual_seed(0))
        kinds = [arms.kinds[row] for row in arms.damaged]
        assert kinds == ["concept"] * 5 + ["random"] * min(20, random)


def test_where_the_concepts_span_everything_orthogonal_directions_are_random_ones():
    assert orthogonal_to(unit(3, 4), unit(9, 4)).norm(dim=-1).allclose(torch.ones(3))
