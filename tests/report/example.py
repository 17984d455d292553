"""A seeded `Diagnosis` that looks like a real one, for tests of what shows it: odd names, NaNs and all verdicts included.

It is input of a page, not a result: nothing here says how well any readout works.
"""

import json
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from amygdala_tl.demo import demo_graph_path
from amygdala_tl.diagnostics.records import (
    ConceptQuality,
    CrossTalk,
    Diagnosis,
    Evaluation,
    Geometry,
    Interval,
    LayerSeparation,
    Outlier,
    PairFinding,
    PairWarning,
    ReadText,
    VerdictName,
)
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import Calibration, ModelInfo

SCRIPT = "<script>window.hacked = 1</script>"
FAMILIES = {
    "grief": ("grief", "longing", "loneliness", "sadness", "regret", "disappointment"),
    "warmth": ("warmth", "gratitude", "tenderness", "belonging", "love", "pride"),
    "joy": ("joy", "amusement", "excitement", "relief", "playfulness", "delight"),
    "anxiety": ("anxiety", "fear", "dread", "nervousness", "overwhelm", "shame"),
    "calm": ("calm", "clarity", "contentment", "serenity", "acceptance", "trust"),
    "anger": ("anger", "frustration", "resentment", "annoyance", "contempt", "disgust"),
    "curiosity": ("curiosity", "awe", "wonder", "surprise", "confusion", "boredom"),
}
ODD_NAMES = (
    SCRIPT,
    "a & b <b>bold</b> %{x}",
    "being-understood-by-somebody-who-was-not-even-in-the-room",
    "na\u00efvet\u00e9",
    "__proto__",
)


def example_diagnosis(
    n_concepts: int = 16,
    *,
    layers: Sequence[int] = (10, 14, 19, 23),
    n_texts: int = 12,
    odd: bool = True,
    seed: int = 0,
) -> Diagnosis:
    """Concepts in families with cosines to match, better readable in the middle layers, some not at all.

    Args:
        n_concepts: from 2 to 200.
        layers: indices.
        n_texts: how many texts to browse.
        odd: whether names and texts include markup, and numbers NaN.
        seed: of everything.
    """
    random = torch.Generator().manual_seed(seed)
    concepts, family = _names(n_concepts, odd=odd)
    centres = torch.randn(len(FAMILIES), 24, generator=random)
    strength = 2.1 * torch.rand(n_concepts, generator=random).sqrt()
    strength[1 :: max(n_concepts // 2, 3)] = 0.05
    vectors = [
        torch.nn.functional.normalize(
            (centres + 0.3 * layer_index)[family] + 1.1 * torch.randn(n_concepts, 24, generator=random), dim=-1
        )
        for layer_index in range(len(layers))
    ]
    bump = torch.linspace(-1.0, 0.8, len(layers)).square().neg().exp()
    by_layer = _by_layer(concepts, layers, strength * bump[:, None], random)
    if odd:
        by_layer.auroc.value[-1, 2] = by_layer.auroc.low[-1, 2] = by_layer.auroc.high[-1, 2] = torch.nan
    evaluation = _evaluation(concepts, layers, strength, random)
    if odd:
        for tensor in (evaluation.auroc.value, evaluation.auroc.low, evaluation.auroc.high, evaluation.p_value):
            tensor[n_concepts - 1] = torch.nan
        evaluation.embedding[0] = torch.nan
    crosstalk = tuple(
        _crosstalk(concepts, layer, unit, strength, family, random) for layer, unit in zip(layers, vectors, strict=True)
    )
    if odd:
        crosstalk[0].auroc[0, 1] = torch.nan
    quality = tuple(_quality(concepts, index, evaluation, vectors[-1], odd=odd) for index in range(n_concepts))
    return Diagnosis(
        concepts=concepts,
        layers=tuple(layers),
        readout=_readout(concepts, layers, vectors),
        by_layer=by_layer,
        crosstalk=crosstalk,
        evaluation=evaluation,
        quality=quality,
        geometry=tuple(_geometry(concepts, layer, unit) for layer, unit in zip(layers, vectors, strict=True)),
        texts=tuple(_texts(concepts, layers, n_texts, strength, random, odd=odd)),
    )


def _names(n_concepts: int, *, odd: bool) -> tuple[tuple[str, ...], Tensor]:
    plain = [name for rank in range(6) for name in (words[rank] for words in FAMILIES.values())]
    plain += [f"{name}-{suffix}" for suffix in ("at-dusk", "in-company", "remembered", "feigned") for name in plain]
    odd_names = ODD_NAMES if odd and n_concepts > 2 * len(ODD_NAMES) else ()
    chosen = plain[: n_concepts - len(odd_names)]
    families = [index % len(FAMILIES) for index in range(len(chosen))] + [0, 1, 1, 2, 3][: len(odd_names)]
    return (*chosen, *odd_names), torch.tensor(families)


def _phi(value: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(value / 2))


def _interval(value: Tensor, half: float, random: torch.Generator, ceiling: float = 1.0) -> Interval:
    width = half * (0.6 + 0.8 * torch.rand(value.shape, generator=random))
    return Interval(value=value, low=value - width, high=(value + 0.8 * width).clamp(max=ceiling))


def _by_layer(concepts: tuple[str, ...], layers: Sequence[int], d: Tensor, random: torch.Generator) -> LayerSeparation:
    d = d + 0.08 * torch.randn(d.shape, generator=random)
    return LayerSeparation(
        concepts=concepts,
        layers=tuple(layers),
        auroc=_interval(_phi(d), 0.05, random),
        d_prime=_interval(d, 0.25, random, ceiling=9.0),
        fisher_ratio=_interval(d.square() / 2, 0.15, random, ceiling=9.0),
        n_positive=torch.randint(20, 40, (len(concepts),), generator=random),
        n_negative=torch.randint(230, 290, (len(concepts),), generator=random),
        of="training folds",
    )


def _evaluation(concepts: tuple[str, ...], layers: Sequence[int], d: Tensor, random: torch.Generator) -> Evaluation:
    n = len(concepts)
    auroc = (_phi(d) + 0.03 * torch.randn(n, generator=random)).clamp(max=0.985)
    return Evaluation(
        concepts=concepts,
        data="the corpus's own held-out groups",
        reading_layer=torch.tensor(layers)[
            torch.randint(len(layers) // 3, max(len(layers) - 1, 1), (n,), generator=random)
        ],
        auroc=_interval(auroc, 0.08, random),
        average_precision=_interval((auroc - 0.3).clamp(min=0.1), 0.1, random),
        p_value=torch.where(auroc > 0.65, 0.002, 0.4),
        permutation_null=0.60 + 0.06 * torch.rand(n, generator=random),
        random_null=0.63 + 0.05 * torch.rand(n, generator=random),
        bag_of_words=(auroc - 0.07 + 0.06 * torch.randn(n, generator=random)).clamp(0.4, 0.97),
        embedding=(auroc - 0.05 + 0.05 * torch.randn(n, generator=random)).clamp(0.4, 0.97),
        against_words=_interval(torch.full((n,), 0.05), 0.08, random),
        against_embedding=_interval(torch.full((n,), 0.05), 0.08, random),
        n_positive=torch.randint(7, 14, (n,), generator=random),
        n_negative=torch.randint(60, 80, (n,), generator=random),
        n_groups=58,
    )


def _crosstalk(
    concepts: tuple[str, ...],
    layer: int,
    unit: Tensor,
    strength: Tensor,
    family: Tensor,
    random: torch.Generator,
) -> CrossTalk:
    n = len(concepts)
    cosine = unit @ unit.T
    labels = (0.5 * cosine + 0.08 * torch.randn(n, n, generator=random)).clamp(-1, 1)
    labels = (labels + labels.T) / 2
    labels.fill_diagonal_(1.0)
    order = tuple(int(index) for index in torch.argsort(family, stable=True))
    close = (cosine - 2 * torch.eye(n)).triu().flatten().argsort(descending=True)[: max(n // 3, 1)]
    pairs = [(int(index) // n, int(index) % n) for index in close]
    kinds: tuple[PairFinding, ...] = ("cannot be told apart", "happen together", "close readouts", "opposite ends")
    return CrossTalk(
        concepts=concepts,
        layer=layer,
        cosine=cosine,
        auroc=_phi(strength[:, None] * cosine),
        n_positive=torch.randint(7, 14, (n,), generator=random),
        n_negative=torch.randint(60, 80, (n,), generator=random),
        label_correlation=labels,
        score_correlation=cosine,
        r_squared=cosine.square().mean(dim=1),
        cluster=torch.unique(family, return_inverse=True)[1],
        order=order,
        warnings=tuple(
            PairWarning(
                first=concepts[i],
                second=concepts[j],
                finding=kinds[rank % 4],
                cosine=float(cosine[i, j]),
                score_correlation=float(cosine[i, j]),
                label_correlation=float(labels[i, j]),
                contrast=(0.55, 0.41, 0.69) if rank % 3 < 2 else (float("nan"),) * 3,
                n_first_only=9,
                n_second_only=11 if rank % 3 < 2 else 0,
            )
            for rank, (i, j) in enumerate(pairs)
        ),
    )


def _quality(
    concepts: tuple[str, ...], index: int, evaluation: Evaluation, unit: Tensor, *, odd: bool
) -> ConceptQuality:
    value, low = float(evaluation.auroc.value[index]), float(evaluation.auroc.low[index])
    null, words = float(evaluation.random_null[index]), float(evaluation.bag_of_words[index])
    high = float(evaluation.auroc.high[index])
    verdict: VerdictName = (
        "readable" if low >= null else "weak" if low > 0.5 else "not readable" if high < 0.8 else "undecided"
    )
    if verdict == "readable" and index % 9 == 4:
        verdict = "redundant"
    other = concepts[(index + 7) % len(concepts)]
    reasons = {
        "readable": f"AUROC {value:.2f}, 95% interval from {low:.2f}, above random directions ({null:.2f}).",
        "weak": f"Random directions may do as well: {null:.2f} (95%); the words alone reach {words:.2f}.",
        "redundant": f"It cannot be told from {other}: texts with one of them only are told apart with AUROC 0.55.",
        "undecided": f"The texts are too few: AUROC {value:.2f}; about 40 more groups would decide."
        if value == value
        else "No AUROC can be computed.",
        "not readable": f"The AUROC of {value:.2f} may be chance.",
    }
    cosines = unit @ unit[index]
    near = [int(i) for i in cosines.argsort(descending=True) if int(i) != index][:4]
    first_words = (
        f"{SCRIPT} and <i>then</i> the lamp"
        if odd and index == 0
        else "The lamp went out before anybody had said a word"
    )
    return ConceptQuality(
        concept=concepts[index],
        layer=int(evaluation.reading_layer[index]),
        verdict=verdict,
        reason=reasons[verdict],
        redundant_with=other if verdict == "redundant" else None,
        agreement=0.21,
        first_pc_share=0.18,
        effective_dimension=14.2,
        split_half_cosine=float("nan") if odd and index == 0 else 0.83,
        outliers=(
            Outlier(text=f"{index:02x}" * 32, words=first_words, labelled="negative", z=3.4),
            Outlier(
                text=f"{index + 1:02x}" * 32, words="Nobody has written since Thursday", labelled="positive", z=2.9
            ),
        )
        if index % 3 == 0
        else (),
        nearest=tuple((concepts[i], float(cosines[i])) for i in near),
        neuron=(14, 1032, 0.12) if index % 2 else None,
        tokens_up=(" mourning", " ache", "\n", " gone", " <b>") if index % 2 else (),
        tokens_down=(" discount", " lol", "()") if index % 2 else (),
    )


def _geometry(concepts: tuple[str, ...], layer: int, unit: Tensor) -> Geometry:
    u, s, _ = torch.linalg.svd(unit - unit.mean(dim=0), full_matrices=False)
    axes = min(4, len(s))
    return Geometry(
        concepts=concepts,
        layer=layer,
        coordinates=(u * s)[:, :axes],
        explained=(s.square() / s.square().sum())[:axes],
        norms={
            "valence": torch.tensor([0.81, 0.12, 0.05, 0.01])[:axes],
            "arousal": torch.tensor([-0.2, 0.6, 0.1, 0.0])[:axes],
        },
        n_norms=len(concepts) - 3,
    )


def _texts(
    concepts: tuple[str, ...],
    layers: Sequence[int],
    n_texts: int,
    strength: Tensor,
    random: torch.Generator,
    *,
    odd: bool,
) -> list[ReadText]:
    nodes = [json.loads(line) for line in demo_graph_path().read_text().splitlines()[:400]]
    notes = [node["observations"][0].rsplit("\n", 1)[0].rstrip() for node in nodes if node.get("observations")][
        :n_texts
    ]
    if odd and notes:
        notes[0] = (
            f"{SCRIPT} was what the screen said, and <b>nothing</b> else.\n\nWe laughed \u2013 then we did not & went home."
        )
    texts = []
    for rank, note in enumerate(notes):
        tokens = tuple(re.findall(r"\s*\w{1,8}|\s*[^\w\s]|\s+", note))
        drive = torch.randn(len(tokens), 1, len(concepts), generator=random)
        for step in range(1, len(tokens)):  # neighbouring tokens of a real text score alike
            drive[step] = 0.8 * drive[step - 1] + 0.6 * drive[step]
        z = drive + 0.5 * torch.randn(len(tokens), len(layers), len(concepts), generator=random)
        z[:, :, rank % len(concepts)] += 1.5 * strength[rank % len(concepts)]
        z[0] = torch.nan
        labels = (concepts[rank % len(concepts)],)
        texts.append(ReadText(id=f"{rank:02x}" * 32, labels=labels, tokens=tokens, z=z, combined=z.mean(dim=1)))
    return texts


def _readout(concepts: tuple[str, ...], layers: Sequence[int], vectors: Sequence[Tensor]) -> Readout:
    shape = len(layers), len(concepts)
    provenance = Provenance(
        model=ModelInfo(
            id="embedded",
            revision=None,
            fingerprint="7d6cbd88" * 8,
            architecture="LlamaForCausalLM",
            engine="HookedTransformer",
            versions={"amygdala-tl": "0.1.0", "transformer-lens": "3.9.0", "torch": "2.13.0+cpu"},
            dtype="float32",
            n_layers=30,
            d_model=576,
            n_ctx=8192,
        ),
        hooks={str(layer): f"blocks.{layer}.hook_resid_post" for layer in layers},
        estimator={
            "aggregator": "whitened",
            "shrinkage": [0.9, 0.9, 0.7, 0.7][: len(layers)],
            "labels": "classes",
            "chosen_from": [
                {"method": "mean", "auroc": 0.8253, "auroc_by_layer": [0.81] * len(layers)},
                {"method": "whitened", "auroc": 0.8826, "auroc_by_layer": [0.87] * len(layers)},
                {"method": "pca", "failed": "no pairs"},
            ],
        },
        denoisers=({"name": "neutral-pca", "share": 0.5},),
        corpus_sha256="4e97ab1b" * 8,
        counts={concept: {"positive": 30, "negative": 270} for concept in concepts},
        left_out={"boredom-of-tuesdays": "4 positive texts, 8 needed"},
    )
    calibrations = (Calibration(torch.zeros(shape), torch.ones(shape), n) for n in (339, 51393))
    return Readout(concepts, tuple(layers), torch.stack(list(vectors)), *calibrations, provenance)
