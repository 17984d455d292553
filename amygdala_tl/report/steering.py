"""The causal check in the terminal."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.report.grid import NARROW, UNKNOWN, fixed, grid, tally
from amygdala_tl.steering.records import Ablation, ConceptSteering, DoseEffect, SteeringReport, SteeringVerdict
from amygdala_tl.steering.results import SteeringRun
from amygdala_tl.steering.suggesting import SuggestedWords
from amygdala_tl.steering.summary import ConceptSummary, nearest_dose

HEARD = (
    "AUROC of the corpus's bag of words on what the model says with the concept added, against what it says with another concept "
    "added in the same dose; .5 is chance."
)

STYLES: dict[SteeringVerdict, str] = {"steers": "green", "reads only": "yellow", "neither": "red"}


def steering_table(report: SteeringReport, *, wide: bool = False) -> RenderableType:
    """Every concept at its recommended dose; one that does not steer at the dose that came nearest, dimmed.

    Args:
        report: what was found.
        wide: also t, the share of prompts that move the wrong way, the readout of a later layer, and ablation; needs 110 columns.
    """
    headings = ["layer", "dose", "effect", "95%", "random", "p", "loss", "random"]
    table = concept_grid(headings + (["t", "wrong", "reads", "ablated", "random"] if wide else []))
    for found in report.concepts:
        layer, at = nearest_dose(found)
        cells = [f"{layer}", f"{at.dose:g}", f"{at.effect:+.2f}", f"{at.low:.1f}..{at.high:.1f}", spread(at, ".1f")]
        cells += [fixed(at.p_value), f"{at.loss:+.2f}", f"{at.random_loss:+.2f}"]
        if wide:
            ablated = next(of.ablation for of in found.layers if of.layer == layer)
            cells += [fixed(at.t, ".1f"), f"{at.wrong_way:.0%}", fixed(at.reads, "+.1f")]
            cells += [UNKNOWN] * 2 if ablated is None else [f"{ablated.fall:+.2f}", spread(ablated, ".2f")]
        add_concept(table, found, cells)
    counts = tally((found.verdict for found in report.concepts), STYLES)
    return Group(table, Text(counts), Text(_legend(report), style="dim"))


def words_table(run: SteeringRun) -> RenderableType:
    """Show the words that count for every tested concept, and which concepts no word list has."""
    alone = () if run.about is None else run.about.by_name
    table = grid(["words of", ""], padding=NARROW)
    for found in run.reports[0].concepts:
        said = ", ".join(found.words) or "none that is a token of its own"
        table.add_row(found.concept, said + (" (its name: no word list has it)" if found.concept in alone else ""))
    return table


def heard_table(report: SteeringReport) -> RenderableType | None:
    """Show at which doses the corpus's bag of words tells each concept's continuations from the others'; None without them."""
    doses = sorted({each.dose for each in report.heard})
    table = grid(["heard in continuations", *(f"dose {dose:g}" for dose in doses)], padding=NARROW)
    for concept in report.plan.concepts:
        cells = [
            UNKNOWN if math.isnan(each.auroc) else f"{each.auroc:.2f} [{each.low:.2f}, {each.high:.2f}]"
            for each in report.heard if each.concept == concept
        ]  # fmt: skip
        table.add_row(concept, *cells)
    return Group(table, Text(HEARD, style="dim")) if doses else None


def suggested_table(found: Sequence[SuggestedWords]) -> RenderableType:
    """Show the words suggested for every concept, by where they were found."""
    sources = ["near the name in the model", *(["in its texts"] if any(words.corpus for words in found) else [])]
    table = grid(["words for", *sources], padding=NARROW)
    for words in found:
        cells = [", ".join(words.near) or "none", ", ".join(words.corpus)]
        table.add_row(words.concept, *cells[: len(sources)])
    return table


def concept_grid(numbers: Iterable[str]) -> Table:
    """Return an empty table of concepts with their verdicts."""
    return grid(["concept"], numbers, whole=["verdict"], padding=NARROW)


def add_concept(table: Table, found: ConceptSteering | ConceptSummary, cells: Iterable[str]) -> None:
    """Add the row of a concept, dimmed if it does not steer."""
    verdict = Text(found.verdict, style=STYLES[found.verdict])
    table.add_row(Text(found.concept), verdict, *cells, style=None if found.verdict == "steers" else "dim")


def spread(found: DoseEffect | Ablation, form: str) -> str:
    """Return mean and deviation of the random directions."""
    return f"{found.random_mean:+{form}}\u00b1{found.random_deviation:{form}}"


def _legend(report: SteeringReport) -> str:
    controls = ", ".join(f"{count} {kind}" for kind, count in report.controls.items())
    return (
        f"effect: log-probability of the concept's words against the others', nats, mean over {report.prompts} prompts; p: "
        "of the largest over layers and doses, against random and shuffled-label directions, corrected over concepts; "
        f"loss: on plain texts, nats a token. Controls a layer: {controls}."
    )
