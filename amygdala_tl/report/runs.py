"""Terminal table of a causal check over its seeds."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.report.grid import UNKNOWN, fixed, tally
from amygdala_tl.report.steering import STYLES, add_concept, concept_grid, spread
from amygdala_tl.steering.records import Ablation, SteeringReport
from amygdala_tl.steering.summary import summarise


def summary_table(reports: Sequence[SteeringReport]) -> RenderableType:
    """Show a line for each concept over all seeds. A concept that does not steer is dimmed, at the dose that came nearest.

    Args:
        reports: one for each seed.
    """
    found, several = summarise(reports), len(reports) > 1
    headings = ["layer", "dose", "effect", "random", "p", "loss", "ablated", "all"]
    table = concept_grid(["seeds"] * several + headings)
    for each in found:
        at = each.at
        cells = [f"{each.layer}", f"{at.dose:g}", f"{at.effect:+.2f}", spread(at, ".1f"), fixed(at.p_value)]
        cells += [f"{at.loss:+.2f}", _fall(each.ablation[0]), _fall(each.ablation[2])]
        add_concept(table, each, [f"{each.steers_in}/{each.seeds}"] * several + cells)
    counts = tally((each.verdict for each in found), STYLES)
    seeds = ", ".join(str(report.plan.seed) for report in reports)
    legend = (
        "seeds: number of seeds with which it steers; p: largest over seeds; ablated, all: fall of the concept's words when "
        "the direction is removed at that layer, or at all layers of the model; * p below 0.05"
    )
    return Group(table, Text(f"{counts}; seeds {seeds}"), Text(legend, style="dim"))


def _fall(found: Ablation | None) -> str:
    if found is None:
        return UNKNOWN
    star = "*" if found.p_value is not None and found.p_value <= 0.05 else ""
    return f"{found.fall:+.2f}{star}"
