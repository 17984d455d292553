"""The causal check: does a direction do anything? Its directions are added to the stream, and taken out of it.

A direction that predicts an emotion need not cause it (AxBench, Wu et al. 2025, arXiv:2501.17148: linear probes detect best and
steer worst). Here every direction is measured beside random directions of the same length.

The files, in the order in which a check passes through them; each imports only from those before it:

    edits          Add, Ablate, Clamp: tensors in, tensors out
    prompts        what a steered model is given
    words          what it is expected to say
    norms          the unit of dose
    hooks          `intervene`: edits on a running model
    settings       settings with their defaults, and the TOML file
    records        the plan, and what a check finds
    arms           directions and their random controls
    controls       directions of half of the texts, and of shuffled labels
    blocks         what is measured at a time, hashed over all fields
    plan           a check's blocks
    journal        blocks that are done
    bench          many arms in one batch
    measured       raw numbers
    measure        blocks, run on the model
    significance   p-values and intervals
    verdict        what to believe of one concept
    judge          raw numbers to a report
    summary        one line a concept, over seeds
    results        the folder, written and read back
    check          all of it in one call
    comparing      two runs side by side
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amygdala_tl.steering.comparing import RunComparison as RunComparison
    from amygdala_tl.steering.comparing import compare_runs as compare_runs
    from amygdala_tl.steering.edits import EVERYWHERE as EVERYWHERE
    from amygdala_tl.steering.edits import NOT_FIRST as NOT_FIRST
    from amygdala_tl.steering.edits import Ablate as Ablate
    from amygdala_tl.steering.edits import Add as Add
    from amygdala_tl.steering.edits import Clamp as Clamp
    from amygdala_tl.steering.edits import Where as Where
    from amygdala_tl.steering.hooks import intervene as intervene
    from amygdala_tl.steering.records import SteeringReport as SteeringReport
    from amygdala_tl.steering.results import SteeringRun as SteeringRun
    from amygdala_tl.steering.results import read_run as read_run
    from amygdala_tl.steering.settings import RunSettings as RunSettings
    from amygdala_tl.steering.settings import read_settings as read_settings

_PUBLIC = {
    "Ablate": "edits", "Add": "edits", "Clamp": "edits", "EVERYWHERE": "edits", "NOT_FIRST": "edits", "Where": "edits",
    "RunComparison": "comparing", "RunSettings": "settings", "SteeringReport": "records", "SteeringRun": "results",
    "compare_runs": "comparing", "intervene": "hooks", "read_run": "results", "read_settings": "settings",
}  # fmt: skip

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    # On first use: the command line reads the settings, and needs no torch for that.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
