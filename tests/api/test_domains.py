"""Several corpora as one: what joins, what is chosen on a domain left out, and how each domain reads the others."""

import dataclasses
import json

import pytest
import torch

from amygdala_tl import Corpus, fit, judge, load_readout, read_corpus
from amygdala_tl.api.domains import compare_domains
from amygdala_tl.api.layers import compare_layers
from amygdala_tl.corpus.domains import OTHER_DOMAIN, domains_of, joined, shared_concepts
from amygdala_tl.errors import InputError
from tests.api.test_judge import store_of
from tests.cli.conftest import run, workplace  # noqa: F401 (a fixture)

D_MODEL = 16
N = 160


def corpus_of(name, concepts, n=N):
    """Texts in twos, of which every fourth one carries the first concept, every third one the second."""
    labels = [[concept for concept, step in zip(concepts, (4, 3), strict=True) if row % step == 0] for row in range(n)]
    positive = torch.tensor([[concept in each for concept in concepts] for each in labels])
    texts = [f"{name}, page {row}: the boat number {row * 7919 % 1000} came in." for row in range(n)]
    return Corpus.from_texts(
        texts, positive, concepts=concepts, groups=[row // 2 for row in range(n)], heldout_fraction=0.0
    )


@pytest.fixture(scope="module")
def both():
    return joined({"diary": corpus_of("diary", ("calm", "joy")), "forum": corpus_of("forum", ("grief", "joy"))})


def planted(both, *, layers_elsewhere=(0, 1, 2, 3)):
    """Joy has one direction at the layers given here and two at the others; calm and grief have one each."""
    generator, domains = torch.Generator().manual_seed(0), domains_of(both)
    directions = torch.nn.functional.normalize(torch.randn(4, 4, D_MODEL, generator=generator), dim=-1)
    activations = torch.randn(len(both.texts), 4, D_MODEL, generator=generator)
    for row, text in enumerate(both.texts):
        for concept in text.positive:
            for layer in range(4):
                other = concept == "joy" and domains[text.id] == "forum" and layer not in layers_elsewhere
                activations[row, layer] += 3 * directions[layer, 3 if other else both.concepts.index(concept)]
    return activations


def test_each_corpus_labels_its_own_texts_only_and_no_group_is_in_two(both):
    domains = domains_of(both)
    assert both.concepts == ("calm", "grief", "joy")
    assert shared_concepts(both) == ("joy",)
    assert set(domains.values()) == {"diary", "forum"}
    for text in both.texts:
        assert domains[text.id] == text.text.split(",")[0]
        missing = "grief" if domains[text.id] == "diary" else "calm"
        assert missing not in text.positive + text.negative
        assert text.group.startswith(f"{domains[text.id]}: ")


def test_a_text_that_comes_again_counts_in_the_first_corpus():
    one = corpus_of("diary", ("calm", "joy"))
    found = joined({"a": one, "b": one})
    assert set(domains_of(found).values()) == {"a"}
    assert found.dropped[OTHER_DOMAIN] == len(one.texts)
    with pytest.raises(InputError, match="nothing to join"):
        joined({"a": one})
    with pytest.raises(InputError, match="name of a domain"):
        joined({"a: b": one, "c": one})


def test_every_domain_is_read_by_directions_of_every_other(both, tmp_path):
    store = store_of(tmp_path, both.texts, planted(both, layers_elsewhere=()))
    found = compare_domains(fit(both, store, aggregator="mean"), both, store)
    table = {name: found.auroc[:, :, place] for place, name in enumerate(found.concepts)}
    assert found.domains == ("diary", "forum")
    assert (table["joy"].diagonal() > 0.9).all()
    assert table["joy"][0, 1] < 0.7
    assert table["joy"][1, 0] < 0.7
    for name, own in (("calm", 0), ("grief", 1)):
        assert table[name][own, own] > 0.9
        assert table[name].isfinite().sum() == 1
    same = store_of(tmp_path / "same", both.texts, planted(both))
    found = compare_domains(fit(both, same, aggregator="mean"), both, same)
    assert (found.auroc[:, :, 2] > 0.9).all()


def test_a_domain_of_nothing_new_and_a_concept_that_is_too_rare_are_left_out(both, tmp_path):
    twice = joined({"diary": corpus_of("diary", ("calm", "joy")), "again": corpus_of("diary", ("calm", "joy"))})
    store = store_of(tmp_path, both.texts, planted(both))
    found = compare_domains(fit(twice, store, aggregator="mean"), twice, store)
    assert found.domains == ("diary",)
    rare = fit(both, store, aggregator="mean", min_examples=50)
    assert rare.concepts == ("grief", "joy")[-len(rare.concepts) :]
    assert compare_domains(rare, both, store).concepts == rare.concepts


def test_layers_are_chosen_on_a_domain_that_the_directions_have_not_seen(both, tmp_path):
    store = store_of(tmp_path, both.texts, planted(both, layers_elsewhere=(2,)))
    by_domain = compare_layers(both, store, aggregator="mean").auroc.value[:, both.concepts.index("joy")]
    by_groups = compare_layers(dataclasses.replace(both, parameters={}), store, aggregator="mean").auroc.value[:, 2]
    assert by_domain.argmax() == 2
    assert by_domain[[0, 1, 3]].max() < 0.75
    assert by_groups.min() > 0.8


def test_a_joined_corpus_is_fitted_and_judged_like_any_other(both, tmp_path):
    store = store_of(tmp_path, both.texts, planted(both))
    found = fit(both, store, aggregator="mean,whitened")
    assert found.provenance.estimator["chosen_from"][0]["auroc_by_concept"][0] is None  # calm is in one domain alone
    assert {each.verdict for each in judge(found, both, store).quality} == {"readable"}


def test_train_takes_several_corpora_and_keeps_the_joined_one(capsys, workplace, tiny_checkpoint, tmp_path):  # noqa: F811
    rows = [json.loads(line) for line in (workplace / "corpus" / "texts.jsonl").read_text().splitlines()]
    lines = [f"{row['text'].split('.')[0]}, they said.\t{row['positive'][0]}" for row in rows if row["positive"]]
    (tmp_path / "forum.tsv").write_text("text\tlabel\n" + "\n".join(line for line in lines if line.count("\n") == 0))
    data = ("--training-data-dir", workplace / "corpus", "--training-data-dir", tmp_path / "forum.tsv")
    output = tmp_path / "readout.safetensors"
    how = ("--model", tiny_checkpoint("llama"), "--target-layers", "2", "--aggregator", "mean", "--no-verdicts")
    code, out, err = run(capsys, "train", *data, "--output", output, *how)
    assert code == 0, err
    assert "trained on" in out
    assert "on forum" in out
    corpus = read_corpus(tmp_path / "readout.corpus")
    assert set(domains_of(corpus).values()) == {"corpus", "forum"}
    assert load_readout(output).provenance.corpus_sha256 == corpus.sha256
    beside = ("--training-data-dir", tmp_path / "readout.corpus", "--readout", output)
    assert run(capsys, "crosstalk", *beside)[0] == 0
    again = ("--training-data-dir", tmp_path / "readout.corpus", "--training-data-dir", tmp_path / "forum.tsv")
    code, _, err = run(capsys, "train", *again, "--output", output, *how)
    assert code == 2
    assert "would replace an input" in err
    code, _, err = run(capsys, "train", *data[:2], *data[:2], "--output", output, *how)
    assert code == 2
    assert "one name" in err
