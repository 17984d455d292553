"""The causal check: does a direction do anything? Its directions are added to the stream, and taken out of it.

A direction that predicts an emotion need not cause it (AxBench, Wu et al. 2025, arXiv:2501.17148: linear probes detect best and
steer worst). Here every direction is measured beside random directions of the same length.

The files, in the order in which a check passes through them; each imports only from those before it:

    edits          Add, Ablate, Clamp, Erase: tensors in, tensors out
    prompts        what a steered model is given
    words          what it is expected to say
    suggesting     words for concepts that no list has
    norms          the unit of dose
    hooks          `intervene`: edits on a running model
    settings       settings with their defaults, and the TOML file
    records        the plan, and what a check finds
    arms           directions and their random controls
    controls       directions of half of the texts, and of shuffled labels
    erasing        what takes a concept out, by four methods
    probing        can the concept still be read?
    blocks         what is measured at a time, hashed over all fields
    plan           a check's blocks
    journal        blocks that are done
    bench          many arms in one batch
    measured       raw numbers
    measure        blocks, run on the model
    generations    what the model says with a direction added
    significance   p-values and intervals
    verdict        what to believe of one concept
    judge          raw numbers to a report
    hearing        what a bag of words hears in generations
    summary        one line a concept, over seeds
    results        the folder, written and read back
    check          all of it in one call
    comparing      two runs side by side
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.steering.comparing import RunComparison, compare_runs
    from amygdala_tl.steering.edits import EVERYWHERE, NOT_FIRST, Ablate, Add, Clamp, Erase, Where
    from amygdala_tl.steering.hooks import intervene
    from amygdala_tl.steering.records import SteeringReport
    from amygdala_tl.steering.results import SteeringRun, read_run
    from amygdala_tl.steering.settings import RunSettings, read_settings

__all__ = [
    "EVERYWHERE",
    "NOT_FIRST",
    "Ablate",
    "Add",
    "Clamp",
    "Erase",
    "RunComparison",
    "RunSettings",
    "SteeringReport",
    "SteeringRun",
    "Where",
    "compare_runs",
    "intervene",
    "read_run",
    "read_settings",
]  # fmt: skip

__getattr__ = lazily(
    __name__, comparing="RunComparison compare_runs", edits="Ablate Add Clamp EVERYWHERE Erase NOT_FIRST Where",
    hooks="intervene", records="SteeringReport", results="SteeringRun read_run", settings="RunSettings read_settings",
)  # fmt: skip
