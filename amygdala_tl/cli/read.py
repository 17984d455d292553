"""`read`: scores of texts."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from amygdala_tl.cli import options
from amygdala_tl.cli.inputs import texts_in_order, texts_of
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.errors import InputError
from amygdala_tl.files import LARGEST
from amygdala_tl.names import named_concepts
from amygdala_tl.report.progress import reading_progress
from amygdala_tl.report.readings import coloured_tokens, reading_table
from amygdala_tl.table_files import table_writer

if TYPE_CHECKING:
    import torch

    from amygdala_tl.api.score import Reading
    from amygdala_tl.lens.model import Lens
    from amygdala_tl.readout.record import Readout


def read(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to read.", show_default=False)] = None,
    readout: options.ReadoutFile = options.READOUT,
    file: Annotated[Path | None, typer.Option(help="File of texts, instead of texts; `-` is standard input.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="Show this layer alone.", show_default="all layers in one score")
    ] = None,
    strongest: Annotated[int, typer.Option(min=1, help="Show this many concepts per text.")] = 3,
    tokens: Annotated[bool, typer.Option("--tokens", help="Colour each token by --concept instead.")] = False,
    concept: Annotated[
        str | None, typer.Option(help="Concept for --tokens.", show_default="the strongest of each text")
    ] = None,
    as_json: options.Json = False,
    output: options.Table = None,
    model: options.ModelOption = None,
) -> None:
    """Show the strongest concepts of each text, as z over the training texts."""
    from amygdala_tl.readout.record import load_readout

    console = printer()
    write = table_writer(
        output, "a table of scores", ["text", "concept"], [readout, readout.with_suffix(".json"), file]
    )
    wanted = _texts(texts, file)
    bundle = load_readout(readout)
    column = None if layer is None else bundle.column(layer)
    if column is None and bundle.combined is None:  # a bundle of an earlier version
        column = bundle.column(bundle.middle_layer)
    named = named_concepts([] if concept is None else [concept], bundle.concepts)
    for of in ("texts", "tokens") if tokens else ("texts",):
        bundle.calibration(of)  # mistakes come before the model, which takes long
    from amygdala_tl.api.models import lens_of
    from amygdala_tl.api.score import for_whole_texts, read_texts
    from amygdala_tl.api.score_tables import score_columns

    lens = lens_of(bundle, model)
    bundle = for_whole_texts(bundle, lens)
    with reading_progress(notes(error=True), "read") as progress:
        reading = read_texts(wanted, bundle, lens, progress=progress)
    if write is not None:
        write(score_columns(wanted, bundle, reading.z, reading.combined))
    if as_json:
        print_json(_as_json(wanted, reading, bundle), indent=None)
    elif tokens:
        show_tokens(console, wanted, reading, bundle, lens, column, named[0] if named else None)
    else:
        show_reading(console, wanted, reading, bundle, column, strongest)


def show_reading(
    console: Console,
    texts: Sequence[str],
    reading: "Reading",
    bundle: "Readout",
    column: int | None = None,
    strongest: int = 3,
) -> None:
    """Print the strongest concepts of each text: over all layers, or at the one in this column."""
    shown, unread = _shown(reading, column), bundle.verdicts.unread
    title = f"z-scores, {_where(bundle, column)}"
    about: dict[str, Any] = {"strongest": strongest, "title": title, "unread": unread}
    if column is None:
        about["windows"] = reading.windows
    console.print(reading_table(texts, shown, bundle.concepts, **about))


def show_tokens(
    console: Console,
    texts: Sequence[str],
    reading: "Reading",
    bundle: "Readout",
    lens: "Lens",
    column: int | None = None,
    concept: str | None = None,
) -> None:
    """Print each text with its tokens coloured by one concept."""
    from amygdala_tl.api.score import score_tokens

    about: dict[str, Any] = {"where": _where(bundle, column), "unread": bundle.verdicts.unread}
    for row, found in enumerate(score_tokens(texts, bundle, lens)):
        index = int(_shown(reading, column)[row].argmax()) if concept is None else bundle.concepts.index(concept)
        if column is None and found.combined is not None:
            z, readable = found.combined[:, index], found.readable.all(dim=1)
        else:
            z, readable = found.scores[:, column or 0, index], found.readable[:, column or 0]
        console.print(coloured_tokens(found.pieces, z, readable, concept=bundle.concepts[index], **about))


def _shown(reading: "Reading", column: int | None) -> "torch.Tensor":
    """Return z [text, concept] over all layers, or at the one in this column."""
    return reading.combined if column is None and reading.combined is not None else reading.z[:, column or 0]


def _where(bundle: "Readout", column: int | None) -> str:
    return f"layers {', '.join(map(str, bundle.layers))}" if column is None else f"layer {bundle.layers[column]}"


def _as_json(texts: Sequence[str], reading: "Reading", bundle: "Readout") -> list[dict[str, object]]:
    def by_concept(z: "torch.Tensor") -> dict[str, float] | None:
        return None if z.isnan().any() else dict(zip(bundle.concepts, z.tolist(), strict=True))

    verdicts = {concept: of.verdict for concept, of in bundle.verdicts.items()}
    about: dict[str, object] = {"verdicts": verdicts} if verdicts else {}
    found = []
    for row, text in enumerate(texts):
        z: dict[str, object] = dict(zip(map(str, bundle.layers), map(by_concept, reading.z[row]), strict=True))
        combined = {} if reading.combined is None else {"combined": by_concept(reading.combined[row])}
        own = reading.windows[row]
        windows = {} if own is None else {"windows": dict(zip(bundle.concepts, map(asdict, own), strict=True))}
        found.append({"text": text, **combined, **windows, "z": z, **about})
    return found


def _texts(texts: list[str] | None, file: Path | None) -> list[str]:
    if bool(texts) == (file is not None):
        raise InputError("nothing to read", need="texts or --file", remedy="give one of the two")
    if file is None:
        return list(texts or ())
    return texts_in_order(file, "--file") if str(file) != "-" else texts_of(_standard_input(), "standard input")


def _standard_input() -> str:
    try:
        data = typer.get_binary_stream("stdin").read(LARGEST + 1)
        if len(data) <= LARGEST:
            return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError, RuntimeError) as cause:
        raise InputError("cannot be read", label="standard input", got=str(cause), remedy="check --file") from cause
    got, need = "more", f"at most {LARGEST:,} bytes"
    raise InputError("is too large to be read whole", label="standard input", got=got, need=need, remedy="send less")
