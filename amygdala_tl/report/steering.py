"""The causal check in the terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from amygdala_tl.steering.records import ConceptSteering, SteeringReport, SteeringVerdict
from amygdala_tl.steering.summary import nearest_dose

UNKNOWN = "\u2013"
STYLES: dict[SteeringVerdict, str] = {"steers": "green", "reads only": "yellow", "neither": "red"}


def steering_table(report: SteeringReport, *, wide: bool = False) -> RenderableType:
    """Every concept at its recommended dose; one that does not steer at the dose that came nearest, dimmed.

    Args:
        report: what was found.
        wide: also t, the share of prompts that move the wrong way, the readout of a later layer, and ablation; needs 110 columns.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("concept", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    names = ["layer", "dose", "effect", "95%", "random", "p", "loss", "random"]
    for name in names + (["t", "wrong", "reads", "ablated", "random"] if wide else []):
        table.add_column(name, justify="right", no_wrap=True)
    for found in report.concepts:
        layer, at = nearest_dose(found)
        cells = [
            str(layer),
            f"{at.dose:g}",
            f"{at.effect:+.2f}",
            f"{at.low:.1f}..{at.high:.1f}",
            f"{at.random_mean:+.1f}\u00b1{at.random_deviation:.1f}",
            _number(at.p_value, ".3f"),
            f"{at.loss:+.2f}",
            f"{at.random_loss:+.2f}",
        ]
        if wide:
            ablated = next(of.ablation for of in found.layers if of.layer == layer)
            cells += [
                _number(at.t, ".1f"),
                f"{at.wrong_way:.0%}",
                _number(at.reads, "+.1f"),
                UNKNOWN if ablated is None else f"{ablated.fall:+.2f}",
                UNKNOWN if ablated is None else f"{ablated.random_mean:+.2f}\u00b1{ablated.random_deviation:.2f}",
            ]
        table.add_row(
            Text(found.concept),
            Text(found.verdict, style=STYLES[found.verdict]),
            *cells,
            style=None if found.verdict == "steers" else "dim",
        )
    return Group(table, Text(_counts(report)), Text(_legend(report), style="dim"))


def reasons(found: Sequence[ConceptSteering]) -> RenderableType:
    """One line a concept."""
    return Group(*(Text.assemble((f"{each.concept}: ", "bold"), each.reason) for each in found))


def _counts(report: SteeringReport) -> str:
    counts = Counter(found.verdict for found in report.concepts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in STYLES)


def _legend(report: SteeringReport) -> str:
    controls = ", ".join(f"{count} {kind}" for kind, count in report.controls.items())
    return (
        f"effect: log-probability of the concept's words against the others', nats, mean over {report.prompts} prompts; p: "
        "against random and shuffled-label directions, corrected over concepts, layers and doses; loss: on plain "
        f"texts, nats a token. Controls a layer: {controls}."
    )


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form)
