"""`steer`: what a readout's directions cause when they are added to the model's stream, and taken out of it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.fit_eraser import captured_layers
from amygdala_tl.api.labelled import judged_texts, neutral_activations, runnable
from amygdala_tl.api.models import lens_of
from amygdala_tl.api.probe_runs import runs_of
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import read_method
from amygdala_tl.errors import InputError
from amygdala_tl.files import check_outputs
from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.record import Readout
from amygdala_tl.steering.check import Progress, about_check, run_check
from amygdala_tl.steering.controls import TrainingTexts, directions_of
from amygdala_tl.steering.erasing import LayerEraser, fit_erasers
from amygdala_tl.steering.hearing import hear
from amygdala_tl.steering.journal import Journal
from amygdala_tl.steering.plan import SteeringCheck, make_plan
from amygdala_tl.steering.probing import ProbeTexts, choose_texts
from amygdala_tl.steering.prompts import Tokens, carrier_tokens
from amygdala_tl.steering.records import Heard, Sample, SteeringPlan
from amygdala_tl.steering.results import BLOCKS_FILE, SteeringRun, claim, outputs, write_run, write_seed
from amygdala_tl.steering.settings import ABLATION, ABLATION_PLACES, DEFAULTS, FEWEST, AblationPlace, EraseMethod
from amygdala_tl.steering.words import ConceptWords, concept_words

CARRIERS = 4
"""Texts to take a concept's direction out of."""


def steer(
    readout: Readout,
    lens: Lens | str | None = None,
    *,
    corpus: Corpus | None = None,
    store: ActivationStore | None = None,
    concepts: Sequence[str] = DEFAULTS.concepts,
    layers: str | Sequence[int | float] = DEFAULTS.layers,
    doses: Sequence[float] = DEFAULTS.doses,
    random: int = DEFAULTS.random,
    ablate: Sequence[AblationPlace] = ABLATION_PLACES,
    erase: Sequence[EraseMethod] = ABLATION.erase,
    probe_texts: int = ABLATION.probe_texts,
    words: Mapping[str, Sequence[str]] | None = None,
    samples: int = DEFAULTS.samples,
    seeds: int | Sequence[int] = DEFAULTS.seeds[0],
    out: str | Path | None = None,
    progress: Progress = lambda _done, _total: None,
) -> SteeringRun:
    """Check what each direction causes: add it, take it out, beside random directions of the same length.

    Args:
        readout: from `train` or `load_readout`. One without verdicts counts as not judged, so a concept that does not steer is
            `neither`; one that does not say how it was fitted has only random directions for controls.
        lens: the readout's model, or its name; loaded by the readout's own name for it if None.
        corpus: what the readout was trained on; adds texts to take directions out of.
        store: the corpus's activations; adds shuffled labels, and readouts of other texts.
        concepts: names of those to test; all of the readout if empty. Effects are always against the words of all its concepts.
        layers: see `parse_layers`; all of the readout if empty.
        doses: in units of the layer's mean residual norm.
        random: random directions of each of two kinds; with fewer than 10 nothing can steer at a significance of 5%, and with
            fewer than 20 no ablation is significant. Ablations have a fifth as many controls, but 20 if there are so many.
        ablate: where to take concepts out: at `each` layer, at all of them `together`, `everywhere`.
        erase: how: `leace`, `project`, `mean`, `flip` (see `steering.erasing`). All but `project` need `store`.
        probe_texts: texts of each class and concept that probes are fitted on anew, at every layer from where a concept has been
            taken out, to see whether it can still be read; 0 for no probes. They need `store`.
        words: concept -> words that count, instead of those in the package.
        samples: generations for each concept, prompt and dose, which a bag of words of `corpus` judges (see `steering.hearing`).
        seeds: of random directions, halves of the texts, intervals and generations. The check runs once for each.
        out: results folder, new or of the same run; finished blocks in it are not measured again. One seed writes its report into
            the folder itself, a sequence of seeds into `seed-0`, `seed-1`, ... The command adds copies of its inputs, and a
            `config.toml` that runs them again.
        progress: called with the numbers of finished and of all blocks.

    Raises:
        InputError: the readout has no such concept or layer; doses, controls or words make no check; or `out` holds another run.
        ReadoutError: the readout does not fit the model.
        FitError: a control cannot be fitted.
        ActivationStoreError: texts have not been captured.
        StorageError: the disk refused, or another kind of file is in the way of a result.
    """
    all_seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    places = [""] if isinstance(seeds, int) else [f"seed-{seed}" for seed in seeds]
    folder = None if out is None else Path(out)
    if folder is not None:
        check_outputs(outputs(folder, places))
    if corpus is not None and store is None and ablate and set(erase) != {"project"}:
        raise InputError(
            "an erasure is fitted on activations", got="a corpus without `store`", need="both",
            remedy="give `store`, or take concepts out by erase=['project']",
        )  # fmt: skip
    lens = lens_of(readout, lens)
    plans = [
        make_plan(
            readout, lens.info.n_layers, concepts=concepts, layers=layers, doses=doses, random=random, ablate=ablate,
            erase=erase, probe_texts=probe_texts, seed=seed,
        )
        for seed in all_seeds
    ]  # fmt: skip
    names = plans[0].concepts
    counted = concept_words(lens.tokenizer, readout.concepts, words, tested=names)
    texts = _training_texts(readout, corpus, store)
    corpus = corpus if corpus is None or store is None else runnable(corpus, store)
    carriers = _carriers(corpus, names, lens) if corpus is not None and ablate else {}
    _warn(counted, plans[0])
    checks = [SteeringCheck(lens.info, lens.tokenizer, plan, [], counted, carriers) for plan in plans]
    about = about_check(checks[0], readout, None if corpus is None else corpus.sha256, samples)
    if folder is not None:
        claim(folder, about, plans, places)
    journal, reports, said = Journal(None if folder is None else folder / BLOCKS_FILE), [], list[Sample]()
    for number, (bare, place) in enumerate(zip(checks, places, strict=True)):
        material, erasers = directions_of(readout, bare.plan, texts), _erasers(readout, bare.plan, texts)
        probed = _probed(readout, lens, corpus, bare.plan, texts)
        check = replace(bare, material=material, erasers=erasers, probed=probed)
        report, generated = run_check(
            check, lens, samples=samples, journal=journal,
            readable={name: verdict.readable for name, verdict in readout.verdicts.items()},
            progress=partial(_over_seeds, progress, number, len(plans)),
        )  # fmt: skip
        report = replace(report, heard=_heard(corpus, generated, bare.plan))
        reports.append(report)
        said += generated
        if folder is not None:
            write_seed(folder / place, report, generated)
    run = SteeringRun("" if folder is None else folder.resolve().name, tuple(reports), about, tuple(said))
    if folder is not None:
        write_run(folder, run, places)
    return run


def _heard(corpus: Corpus | None, samples: Sequence[Sample], plan: SteeringPlan) -> tuple[Heard, ...]:
    """What a bag of words of the corpus hears in the generations."""
    if corpus is None or not samples:
        return ()
    texts = [text for text in corpus.texts if text.positive or text.negative]
    positive, negative = (
        torch.tensor([[concept in getattr(text, side) for concept in plan.concepts] for text in texts])
        for side in ("positive", "negative")
    )
    return hear(samples, plan.concepts, [text.text for text in texts], positive, negative, plan.seed)


def _warn(words: ConceptWords, plan: SteeringPlan) -> None:
    """Say what a reader would otherwise find out from the results."""
    if plan.least_p > plan.level:
        warnings.warn(
            f"nothing can pass: with {plan.random} random directions of each kind the smallest p is {plan.least_p:.2g}; "
            f"{FEWEST} of each are the fewest for significance at 5%",
            stacklevel=3,
        )
    elif plan.ablate and plan.ablation_controls < 2 * FEWEST:
        warnings.warn(
            f"no ablation can be significant: with {plan.ablation_controls} controls, where {2 * FEWEST} are the fewest",
            stacklevel=3,
        )
    if alone := [name for name in plan.concepts if name in words.by_name]:
        warnings.warn(
            f"in no word list, so tested with their name as the only word: {', '.join(alone)}; give more in `words`",
            stacklevel=3,
        )


def _over_seeds(progress: Progress, number: int, seeds: int, done: int, total: int) -> None:
    progress(number * total + done, seeds * total)


def _training_texts(readout: Readout, corpus: Corpus | None, store: ActivationStore | None) -> TrainingTexts | None:
    """What the readout was fitted on, at all layers that the store has; None without it."""
    if corpus is None or store is None:
        return None
    layers, method = captured_layers(readout, corpus, store), readout.provenance.method
    texts = judged_texts(readout, corpus, store, "train", layers=layers)
    data, ids = texts.data.whole(), tuple(texts.ids)
    if method is None:
        return TrainingTexts(None, data, data.activations[:0], layers, ids)
    neutral = neutral_activations(readout, corpus, store, layers=layers)
    writer = readout.provenance.writer or method
    return TrainingTexts((read_method(method), read_method(writer)), data, neutral, layers, ids)


def _erasers(readout: Readout, plan: SteeringPlan, texts: TrainingTexts | None) -> Mapping[int, LayerEraser]:
    """What erases the plan's concepts, at all layers that the store has; nothing if the plan does not need it."""
    if texts is None or not plan.ablate or set(plan.erase) == {"project"}:
        return {}
    columns = [readout.concepts.index(name) for name in plan.concepts]
    return fit_erasers(texts.data, columns, texts.layers, plan.ablation_controls, plan.seed)


def _probed(
    readout: Readout, lens: Lens, corpus: Corpus | None, plan: SteeringPlan, texts: TrainingTexts | None
) -> ProbeTexts | None:
    """Some training texts with what erases concepts from them, fitted on each half of all; None if nothing is probed."""
    if corpus is None or texts is None or not plan.ablate or not plan.probe_texts:
        return None
    columns, data = [readout.concepts.index(name) for name in plan.concepts], texts.data
    half = group_folds(data.groups, 2, plan.seed)
    most = math.ceil(plan.probe_texts / 2)
    labels = choose_texts(data.positive[:, columns], data.negative[:, columns], half, texts.ids, most)
    rows = torch.stack(labels).any(dim=0).any(dim=1).nonzero()[:, 0]
    by_id = {text.id: text.text for text in corpus.texts}
    ids, said = tuple(texts.ids[row] for row in rows.tolist()), readout.provenance
    return ProbeTexts(
        ids=ids,
        positive=labels[0][rows],
        negative=labels[1][rows],
        groups=data.groups[rows],
        half=half[rows],
        erasers=(
            fit_erasers(data.take(half == 0), columns, texts.layers, 1, plan.seed),
            fit_erasers(data.take(half == 1), columns, texts.layers, 1, plan.seed),
        ),
        run=runs_of(lens, {name: by_id[name] for name in ids}, said.read_position, said.capture),
    )


def _carriers(corpus: Corpus, names: Sequence[str], lens: Lens) -> dict[int, Tokens]:
    """A few texts of every concept, held-out ones first."""
    order = sorted(corpus.texts, key=lambda text: (text.split != "heldout", text.id))
    found = ([text.text for text in order if name in text.positive][:CARRIERS] for name in names)
    return {
        place: tuple(carrier_tokens(lens.tokenizer, text) for text in texts)
        for place, texts in enumerate(found)
        if texts
    }
