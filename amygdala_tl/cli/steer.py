"""`steer`: the causal check of directions."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from msgspec.structs import replace

from amygdala_tl.cli import options
from amygdala_tl.cli.config import GIVEN
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.cli.steering_run import gate, run_settings
from amygdala_tl.errors import InputError
from amygdala_tl.settings import OUTPUT
from amygdala_tl.steering.settings import (
    ABLATION,
    ABLATION_PLACES,
    DEFAULTS,
    ERASE_METHODS,
    MOST,
    AblationSettings,
    CheckSettings,
    ReadoutSettings,
    RunSettings,
    SteeringSettings,
    read_settings,
)

READOUT = Path("readout.safetensors")

Name = TypeVar("Name", bound=str)


@options.of(OUTPUT)
def steer(
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with all settings, including several seeds; cannot be combined with other settings."
        ),
    ] = None,
    readout: Annotated[
        Path | None, typer.Option(help="The bundle's .safetensors file.", show_default=str(READOUT))
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated concepts to test; effects are against the words of all concepts of the readout.",
            show_default="all concepts of the readout",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers to add directions at.", show_default="all layers of the readout")
    ] = None,
    doses: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated doses, in units of the mean residual norm.",
            show_default=",".join(f"{dose:g}" for dose in DEFAULTS.doses),
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            min=3, max=MOST, help="Number of random directions of each of two kinds.", show_default=str(DEFAULTS.random)
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST,
            help="Number of generations for each concept, prompt and dose.",
            show_default=str(DEFAULTS.samples),
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Results folder, new or of the same settings; what it has is not measured again."),
    ] = Path("steering"),
    ablate: Annotated[
        str | None,
        typer.Option(
            help="Where to remove concepts from texts that carry them: at each layer, at all layers together, "
            "everywhere. Comma-separated; needs the training corpus.",
            show_default=",".join(ABLATION_PLACES),
        ),
    ] = None,
    erase: Annotated[
        str | None,
        typer.Option(
            help="How to remove concepts: leace (least-squares erasure), project (the direction that steers), mean (the "
            "difference of class means) or flip (exchange the classes). Several side by side: comma-separated.",
            show_default=",".join(ABLATION.erase),
        ),
    ] = None,
    probe_texts: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST,
            help="Texts of each class and concept to fit new probes on, where it has been removed; 0 for no probes.",
            show_default=str(ABLATION.probe_texts),
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 1 unless all tested concepts steer, or those of `[check]` in the settings file."
        ),
    ] = False,
    training_data_dir: Annotated[
        Path | None,
        typer.Option(help="Training corpus: adds shuffled labels, readouts of other texts, and ablation."),
    ] = None,
    activations_dir: options.ActivationsDir = None,
    words: Annotated[
        Path | None,
        typer.Option(
            help="JSON file, concept -> list of its words, instead of the words in the package. A concept in neither is "
            "tested with its name as the only word."
        ),
    ] = None,
    suggest_words: Annotated[
        Path | None,
        typer.Option(help="Write words for the concepts to this file, for --words, and test nothing."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of random directions, folds, intervals and generations.",
            show_default=str(DEFAULTS.seeds[0]),
        ),
    ] = None,
    model: options.ModelOption = None,
    as_json: options.Json = False,
) -> None:
    """Check what each direction causes: add it, remove it, and compare with random directions."""
    given = _given(
        readout=readout, concepts=concepts, layers=layers, doses=doses, random=random, samples=samples, ablate=ablate,
        erase=erase, probe_texts=probe_texts,
        training_data_dir=training_data_dir, activations_dir=activations_dir, words=words, seed=seed, model=model,
        suggest_words=suggest_words,
    )  # fmt: skip
    tested = () if concepts is None else tuple(name for name in concepts.split(",") if name.strip())
    if config is None and suggest_words is not None:
        _suggest(suggest_words, readout or READOUT, tested, training_data_dir, model, as_json)
        return
    if config is None:
        settings = RunSettings(
            ReadoutSettings(str(readout or READOUT), **_given(corpus=training_data_dir, activations=activations_dir)),
            model,
            SteeringSettings(
                **_given(
                    concepts=tested,
                    layers=layers,
                    doses=None if doses is None else _doses(doses),
                    random=random,
                    seeds=None if seed is None else (seed,),
                    samples=samples,
                    words=words,
                )
            ),
            AblationSettings(
                **_given(
                    layers=None if ablate is None else _named(ablate, ABLATION_PLACES, "--ablate"),
                    erase=None if erase is None else _named(erase, ERASE_METHODS, "--erase"),
                    probe_texts=probe_texts,
                )
            ),
            CheckSettings() if check else None,
        )
        run = run_settings(settings, out, seed=settings.steering.seeds[0], as_json=as_json)
    elif beside := [name for name in given if name in GIVEN.get()]:
        raise InputError(
            "--config holds all settings", got=f"--{beside[0].replace('_', '-')} beside it",
            remedy="write the setting into the file, or leave out --config",
        )  # fmt: skip
    else:
        settings = read_settings(config)
        if check and settings.check is None:
            settings = replace(settings, check=CheckSettings())
        run = run_settings(settings, out, config=config, as_json=as_json)
    gate(settings, run)


@options.of(OUTPUT)
def ablation_run(
    config: Annotated[Path, typer.Argument(help="TOML file with all settings.")],
    out: Annotated[Path, typer.Option(help="Results folder; what it has is not measured again.")] = Path(
        "ablation-run"
    ),
    as_json: options.Json = False,
) -> None:
    """Run `steer --config`, under its older name."""
    settings = read_settings(config)
    gate(settings, run_settings(settings, out, config=config, as_json=as_json))


def _suggest(
    output: Path, file: Path, concepts: tuple[str, ...], corpus: Path | None, model: str | None, as_json: bool
) -> None:
    """Write words for the concepts of a readout, and show where they were found."""
    from amygdala_tl.api.inputs import corpus_of
    from amygdala_tl.api.suggest_words import suggest_words
    from amygdala_tl.files import check_outputs
    from amygdala_tl.readout.record import load_readout
    from amygdala_tl.report.steering import suggested_table
    from amygdala_tl.report.summaries import file_list
    from amygdala_tl.steering.words import WORDS, write_words

    check_outputs({output: WORDS}, [file, file.with_suffix(".json"), corpus])
    readout = load_readout(file)
    texts = None if corpus is None else corpus_of(readout, corpus)
    found = suggest_words(readout, model, corpus=texts, concepts=concepts)
    write_words(output, {words.concept: words.near for words in found})
    if as_json:
        print_json({"words": output, "concepts": found})
    else:
        printer().print(suggested_table(found))
        notes().print(file_list({"words": output}))


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave, paths as texts."""
    given = {name: value for name, value in options.items() if value is not None}
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


def _named(text: str, known: tuple[Name, ...], option: str) -> tuple[Name, ...]:
    """Read a comma-separated list of known names."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [part for part in parts if part not in known]:
        raise InputError("no such name", got=unknown[0], need=", ".join(known), remedy=f"change {option}")
    return tuple(name for name in known if name in parts)


def _doses(text: str) -> tuple[float, ...]:
    try:
        return SteeringSettings(doses=tuple(float(part) for part in text.split(",") if part.strip())).doses
    except ValueError as cause:
        raise InputError(
            "no doses to check", got=text, need="for example 0,0.1,0.4", remedy="change --doses"
        ) from cause
