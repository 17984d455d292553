"""`push` and `pull`: readouts in repositories of the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import notes, print_json, printer


def push(
    readout: Annotated[Path, typer.Argument(help="The bundle's .safetensors file.")],
    repo: Annotated[str, typer.Argument(help="Repository, owner/name, or a folder.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    texts_license: Annotated[
        str | None,
        typer.Option(
            help="Licence of the training texts, for the card: cc-by-4.0, mit, ...", show_default="not stated"
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Publish a readout with a model card on the Hugging Face Hub, or in a folder; no text of the corpus goes along."""
    from amygdala_tl.api.push import push as run

    if texts_license is None:
        notes(error=True).print(
            'the card will say "not stated" for the licence of the texts: see --texts-license', soft_wrap=True
        )
    pushed = run(readout, repo, private=private, texts_license=texts_license)
    if as_json:
        print_json({"readout": pushed})
    else:
        printer().print(pushed, soft_wrap=True)


def pull(
    repo: Annotated[
        str, typer.Argument(help="Repository, owner/name or owner/name@revision, or a folder from `push`.")
    ],
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for the files.", show_default="the hub's cache")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.", show_default="the newest")] = None,
    as_json: options.Json = False,
) -> None:
    """Download a readout from the Hugging Face Hub, and check that it is whole."""
    from amygdala_tl.readout.hub import pull as run

    vectors = run(repo, output_dir, revision=revision)
    if as_json:
        print_json({"readout": vectors})
    else:
        printer().print(str(vectors), soft_wrap=True)
