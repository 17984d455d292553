"""The causal check from end to end: measure, judge, generate; and what it was made of."""

import platform
from collections.abc import Callable, Mapping

from amygdala_tl.lens.model import Lens
from amygdala_tl.readout.dose import plain_tokens
from amygdala_tl.readout.record import Readout
from amygdala_tl.steering.blocks import key_of
from amygdala_tl.steering.generations import sample
from amygdala_tl.steering.journal import Journal
from amygdala_tl.steering.judge import judge
from amygdala_tl.steering.measure import count_blocks, measure
from amygdala_tl.steering.plan import SteeringCheck, sample_block
from amygdala_tl.steering.prompts import open_prompts
from amygdala_tl.steering.records import Sample, SteeringReport
from amygdala_tl.steering.results import About, RunModel, RunReadout

Progress = Callable[[int, int], None]
"""(blocks done, blocks in all)."""


def run_check(
    check: SteeringCheck,
    lens: Lens,
    *,
    readable: Mapping[str, bool] | None = None,
    samples: int = 0,
    journal: Journal | None = None,
    progress: Progress = lambda _done, _total: None,
) -> tuple[SteeringReport, tuple[Sample, ...]]:
    """Measure what the journal lacks, judge, and generate.

    Args:
        check: what is measured.
        lens: the model of the check.
        readable: concept -> whether its readout knows it on held-out texts; false where it is not named.
        samples: generations for each concept, prompt and dose, at the concept's recommended layer, or else the first.
        journal: where finished blocks are kept.
        progress: called after every block.

    Raises:
        StorageError: the journal cannot be written.
    """
    kept = journal or Journal()
    total = count_blocks(check) + (len(check.plan.concepts) if samples else 0)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    measured = measure(check, lens, kept, advance)
    report = judge(check.plan, check.model.id, measured, check.words.words, readable or {})
    blocks = []
    for place, found in enumerate(report.concepts if samples else ()):
        layer = check.plan.layers[0] if found.layer is None else found.layer
        blocks.append(sample_block(check, place, layer, measured.norms[layer], samples))
    return report, sample(blocks, lens, kept, advance)


def about_check(check: SteeringCheck, readout: Readout, corpus_sha256: str | None, samples: int) -> About:
    """What the numbers of a check depend on besides its plan, as hashes and versions."""
    said = readout.provenance
    return About(
        model=RunModel(**{name: getattr(check.model, name) for name in RunModel.__slots__}),
        versions={**check.model.versions, "python": platform.python_version()},
        readout=RunReadout(readout.sha256, said.method, said.writer, said.corpus_sha256),
        corpus_sha256=corpus_sha256,
        words=check.words.words,
        by_name=check.words.by_name,
        generations=samples,
        prompts_sha256=key_of(open_prompts(check.tokenizer), plain_tokens(check.tokenizer)),
        carriers_sha256=key_of({str(place): texts for place, texts in check.carriers.items()}),
    )
