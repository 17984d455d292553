"""`extract`: from a memory graph to a corpus folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from amygdala_tl.cli import options
from amygdala_tl.cli.printer import notes, print_json, printer
from amygdala_tl.corpus.io import OUTPUTS, write_corpus
from amygdala_tl.corpus.labels import LabelRules
from amygdala_tl.corpus.record import Corpus, count_examples
from amygdala_tl.errors import InputError
from amygdala_tl.files import check_outputs, read_text
from amygdala_tl.memory.tool_names import ToolNames
from amygdala_tl.report.progress import extract_progress
from amygdala_tl.report.summaries import corpus_summary
from amygdala_tl.settings import OUTPUT

RULES = LabelRules()
TOOLS = ToolNames()


@options.of(RULES, OUTPUT)
def extract(
    output_dir: Annotated[Path, typer.Option(help="Corpus folder to write.")],
    memory_mcp_url: Annotated[
        str | None, typer.Option(help="Address of the graph's MCP server; AMYGDALA_MCP_TOKEN holds its bearer token.")
    ] = None,
    memory_file: Annotated[
        Path | None, typer.Option(help="JSONL file of the reference memory server, instead of an address.")
    ] = None,
    emotions_file: Annotated[
        Path | None, typer.Option(help="Use the concepts in this file, one per line; with --top-emotions, both.")
    ] = None,
    node_types: Annotated[
        str | None,
        typer.Option(help="Read nodes of these types only: names of the graph, or journal, digest, pattern."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the examples and of the held-out split.")] = RULES.seed,
    query_tool: Annotated[str, typer.Option(help="Tool of a node server that lists nodes.")] = TOOLS.query,
    render_tool: Annotated[
        str, typer.Option(help="Tool of a node server that returns the text of a node.")
    ] = TOOLS.render,
    graph_tool: Annotated[
        str, typer.Option(help="Tool of a reference memory server that returns the whole graph.")
    ] = TOOLS.graph,
    as_json: options.Json = False,
    **settings: Any,
) -> None:
    """Turn a memory graph into a corpus: unique texts with labels, groups and a held-out split."""
    from amygdala_tl.api.extract import extract as run

    check_outputs({output_dir / name: kind for name, kind in OUTPUTS.items()}, [memory_file, emotions_file])
    emotions = None if emotions_file is None else _names(emotions_file)
    types = None if node_types is None else tuple(part.strip() for part in node_types.split(",") if part.strip())
    rules = LabelRules(seed=seed, emotions=emotions, node_types=types, **settings)
    tools = ToolNames(query_tool, render_tool, graph_tool)
    with extract_progress(notes(error=True)) as progress:
        corpus = run(
            memory_mcp_url=memory_mcp_url, memory_file=memory_file, rules=rules, tool_names=tools, progress=progress
        )
    write_corpus(corpus, output_dir)
    if as_json:
        print_json(_as_json(corpus, output_dir))
    else:
        printer().print(corpus_summary(corpus))
        notes().print(f"corpus: {output_dir}", soft_wrap=True)


def _as_json(corpus: Corpus, output_dir: Path) -> dict[str, object]:
    return {
        "corpus": output_dir,
        "sha256": corpus.sha256,
        "texts": len(corpus.texts),
        "neutral": sum(text.neutral for text in corpus.texts),
        "groups": len({text.group for text in corpus.texts}),
        "concepts": count_examples(corpus),
        "dropped": corpus.dropped,
        "left_out": corpus.left_out,
        "notices": corpus.notices,
    }


def _names(path: Path) -> tuple[str, ...]:
    lines = read_text(path, remedy="check --emotions-file").splitlines()
    names = tuple(name for line in lines if (name := line.split("#")[0].strip()))
    if not names:
        raise InputError("names no concept", label=str(path), need="one name a line", remedy="check --emotions-file")
    return names
