"""Folder of a causal check's results, written and read back.

run.json          what the run was made of, its plans, and where its reports are: one a seed; written first
report.json       all numbers of the check; `seed-0/report.json`, ... where a run has a list of seeds
samples.jsonl     generations, beside each report
blocks.jsonl      raw measurements, from which a stopped run goes on
results.jsonl     one line a seed, concept, layer and dose, and one a seed, concept and ablation
summary.tsv       one line a concept, over seeds
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from amygdala_tl.decode import decode, decode_lines
from amygdala_tl.errors import InputError
from amygdala_tl.files import Kind, atomic_write_bytes, atomic_write_text, make_folder, read_file
from amygdala_tl.kinds import json_with, text_with
from amygdala_tl.names import named_concepts
from amygdala_tl.steering.journal import BLOCKS
from amygdala_tl.steering.records import Ablation, Sample, SteeringPlan, SteeringReport
from amygdala_tl.steering.summary import ConceptSummary, summarise
from amygdala_tl.table_files import no_formula

RUN_FILE = "run.json"
REPORT_FILE = "report.json"
SAMPLES_FILE = "samples.jsonl"
BLOCKS_FILE = "blocks.jsonl"
RESULTS_FILE = "results.jsonl"
SUMMARY_FILE = "summary.tsv"

FORMAT = 1

_KINDS = {
    RUN_FILE: Kind("the head of a causal check", json_with("format", "command", "reports")),
    REPORT_FILE: Kind("the report of a causal check", json_with("plan", "norms", "concepts")),
    SAMPLES_FILE: Kind("the generations of a causal check", json_with("concept", "dose", "prompt", lines=True)),
    RESULTS_FILE: Kind("the numbers of a causal check", json_with("seed", "concept", "kind", lines=True)),
    SUMMARY_FILE: Kind("the summary of a causal check", text_with(r"\Aconcept\tverdict\t")),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunModel:
    """The model of a run; fields as in `ModelInfo`, None where a folder does not say."""

    id: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    architecture: str | None = None
    engine: str | None = None
    dtype: str | None = None
    n_layers: int | None = None
    d_model: int | None = None


@dataclass(frozen=True, slots=True)
class RunReadout:
    """The readout of a run: hash of its vectors' file, its methods of reading and writing, hash of its training corpus."""

    sha256: str | None = None
    estimator: str | None = None
    writer: str | None = None
    corpus_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What a run was made of, besides its plan.

    Attributes:
        model, readout: what was checked.
        versions: package -> version.
        corpus_sha256: of the corpus that the run was given.
        words: concept -> words that count, of all concepts that effects are against.
        by_name: concepts that no word list has: their name is their only word.
        generations: for each concept, prompt and dose.
        prompts_sha256, carriers_sha256: of open prompts and plain texts, and of the texts of ablation, as token ids.
    """

    model: RunModel = RunModel()
    versions: Mapping[str, str] = field(default_factory=dict)
    readout: RunReadout = RunReadout()
    corpus_sha256: str | None = None
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prompts_sha256: str | None = None
    carriers_sha256: str | None = None
    by_name: tuple[str, ...] = ()
    generations: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class SteeringRun:
    """A causal check with all its seeds.

    Attributes:
        name: of its folder; empty without one.
        reports: one a seed, at least one; all of the same concepts, layers and doses.
        about: what the run was made of; None for a folder that does not say.
        samples: generations, of all seeds.
    """

    name: str
    reports: tuple[SteeringReport, ...]
    about: About | None = None
    samples: tuple[Sample, ...] = ()

    @property
    def plan(self) -> SteeringPlan:
        """Of the first seed."""
        return self.reports[0].plan

    @property
    def concepts(self) -> tuple[ConceptSummary, ...]:
        """Verdict and best dose of every concept, over all seeds."""
        return tuple(summarise(self.reports))

    def failed(self, concepts: Sequence[str] = ()) -> tuple[ConceptSummary, ...]:
        """Return the concepts that do not steer, of those named or of all.

        Raises:
            InputError: the run has not tested one of them.
        """
        wanted = named_concepts(concepts, self.plan.concepts) or self.plan.concepts
        return tuple(found for found in self.concepts if found.concept in wanted and found.verdict != "steers")

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{found.concept}: {found.verdict}" for found in self.concepts)
        return f"SteeringRun({verdicts})"


@dataclass(frozen=True, slots=True)
class _RunFile(About):
    """`run.json`."""

    format: int = FORMAT
    command: str = "steer"
    reports: Mapping[str, str] = field(default_factory=lambda: {"0": REPORT_FILE})
    plans: tuple[SteeringPlan, ...] = ()

    def differences(self, other: "_RunFile") -> list[str]:
        """Names of everything that two runs were made of and that differs."""
        plans = [asdict(each.plans[0]) if each.plans else {} for each in (self, other)]
        names = [each.name for each in fields(self) if getattr(self, each.name) != getattr(other, each.name)]
        of_plan = [name for name in plans[1] if plans[0].get(name) != plans[1][name]]
        return [name for name in names if name != "plans" or not of_plan] + of_plan


def outputs(folder: Path, places: Sequence[str]) -> dict[Path, Kind]:
    """Return every file that a check writes, with its kind.

    Args:
        folder: of the results.
        places: of each report's folder, from `folder` on.
    """
    of_seeds = {folder / place / name: _KINDS[name] for place in places for name in (REPORT_FILE, SAMPLES_FILE)}
    of_run = {folder / name: _KINDS[name] for name in (RUN_FILE, RESULTS_FILE, SUMMARY_FILE)}
    return {**of_seeds, **of_run, folder / BLOCKS_FILE: BLOCKS}


def write_seed(folder: Path, report: SteeringReport, samples: Sequence[Sample]) -> None:
    """Write one seed's report, and its generations if there are any.

    Raises:
        StorageError: the disk refused.
    """
    make_folder(folder, private=True)
    atomic_write_bytes(
        folder / REPORT_FILE, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n", _KINDS[REPORT_FILE]
    )
    if samples:
        atomic_write_bytes(
            folder / SAMPLES_FILE, b"".join(msgspec.json.encode(each) + b"\n" for each in samples), _KINDS[SAMPLES_FILE]
        )


def write_run(folder: Path, run: SteeringRun, paths: Sequence[str]) -> None:
    """Write everything that sums a run up: `run.json`, `results.jsonl` and `summary.tsv`.

    Args:
        folder: of the results; the reports are there already.
        run: with all seeds.
        paths: of each report's folder, from `folder` on.

    Raises:
        StorageError: the disk refused.
    """
    _write_head(folder, _head(run.about or About(), [report.plan for report in run.reports], paths))
    atomic_write_text(folder / RESULTS_FILE, result_lines(run.reports), _KINDS[RESULTS_FILE])
    atomic_write_text(folder / SUMMARY_FILE, summary_tsv(run.reports), _KINDS[SUMMARY_FILE])


def claim(folder: Path, about: About, plans: Sequence[SteeringPlan], paths: Sequence[str]) -> None:
    """Write `run.json` into a new results folder, or see that the folder is of the same run.

    Args:
        folder: of the results.
        about, plans: what the run is made of, and one plan a seed.
        paths: of each report's folder, from `folder` on.

    Raises:
        InputError: the folder holds another run.
        StorageError: the disk refused.
    """
    head, path = _head(about, plans, paths), folder / RUN_FILE
    there = [place for place in paths if (folder / place / REPORT_FILE).exists()]
    kept = _read(path, _RunFile) if path.is_file() else None
    other = ["report.json without run.json"] if there and kept is None else kept.differences(head) if kept else []
    if other:
        raise InputError(
            "the folder holds the results of another run", label=str(folder), got=f"another {', '.join(other)}",
            need="the same run, or a folder of its own for each run", remedy="choose another folder",
        )  # fmt: skip
    if kept is None:
        make_folder(folder, private=True)
        _write_head(folder, head)


def _head(about: About, plans: Sequence[SteeringPlan], paths: Sequence[str]) -> _RunFile:
    seeds = (str(plan.seed) for plan in plans)
    reports = {seed: (Path(path) / REPORT_FILE).as_posix() for seed, path in zip(seeds, paths, strict=True)}
    made = {name: getattr(about, name) for name in About.__slots__}
    return _RunFile(**made, reports=reports, plans=tuple(plans))


def _write_head(folder: Path, head: _RunFile) -> None:
    data = msgspec.json.format(msgspec.json.encode(head), indent=2) + b"\n"
    atomic_write_bytes(folder / RUN_FILE, data, _KINDS[RUN_FILE])


def read_run(folder: Path) -> SteeringRun:
    """Read a results folder.

    Raises:
        InputError: it holds no finished run, or a file in it is damaged.
    """
    said = (folder / RUN_FILE).is_file()
    file = _read(folder / RUN_FILE, _RunFile) if said else _RunFile()
    if file.format != FORMAT:
        raise InputError(
            "is from another version", label=str(folder / RUN_FILE), got=file.format, need=FORMAT,
            remedy="run it again with this version",
        )  # fmt: skip
    reports: list[SteeringReport] = []
    samples: list[Sample] = []
    for path in file.reports.values():
        if not (report := folder / path).is_file():
            raise InputError(
                "holds no finished run", label=str(folder), got=f"no {path}", need="a results folder of `steer`",
                remedy="check the path, or let the run finish",
            )  # fmt: skip
        reports.append(_read(report, SteeringReport))
        if (lines := report.with_name(SAMPLES_FILE)).is_file():
            found = decode_lines(_bytes(lines), Sample, label=str(lines), remedy="delete it")
            samples += [each for _, each in found]
    if not reports or not all(_measured(report) and _measured(report) == _measured(reports[0]) for report in reports):
        raise InputError("its reports are not of one check", label=str(folder), remedy="run `amygdala-tl steer` again")
    about = About(**{name: getattr(file, name) for name in About.__slots__})
    return SteeringRun(folder.resolve().name, tuple(reports), about if said else None, tuple(samples))


def _measured(report: SteeringReport) -> list[tuple[str, int, tuple[float, ...]]]:
    """List what a report has numbers of; nothing if a concept lacks all of them."""
    cells = [
        (found.concept, of.layer, tuple(at.dose for at in of.doses)) for found in report.concepts for of in found.layers
    ]
    whole = {concept for concept, _, doses in cells if doses} == {found.concept for found in report.concepts}
    return cells if whole else []


def result_lines(reports: Sequence[SteeringReport]) -> str:
    """JSON lines: every judged number, one line a seed, concept, layer and dose, and one a seed, concept and ablation."""
    rows: list[dict[str, Any]] = []
    for report in reports:
        for found in report.as_json()["concepts"]:
            head = {"seed": report.plan.seed, "concept": found["concept"]}
            for of in found["layers"]:
                rows += [{**head, "kind": "dose", "layer": of["layer"], **at} for at in of["doses"]]
            removed = [of["ablation"] for of in found["layers"]]
            removed += [found["ablation_together"], found["ablation_everywhere"]]
            every = found["ablations"] or [each for each in removed if each is not None]
            rows += [{**head, "kind": "ablation", **each} for each in every]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def summary_tsv(reports: Sequence[SteeringReport]) -> str:
    """One line a concept, over seeds, tab-separated, with a head; an empty field was not measured."""
    rows = []
    for found in summarise(reports):
        at = asdict(found.at)
        del at["by_prompt"]
        row = {name: getattr(found, name) for name in ("concept", "verdict", "steers_in", "seeds", "layer")} | at
        for name, ablation in zip(("here", "together", "everywhere"), found.ablation, strict=True):
            row |= {f"ablated_{name}_{key}": value for key, value in _ablation(ablation).items()}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _cell(value) for key, value in row.items()} for row in rows])
    return text.getvalue()


def _ablation(found: Ablation | None) -> dict[str, Any]:
    keys = ("fall", "low", "high", "random_mean", "random_deviation", "p_value")
    return {key: None if found is None else getattr(found, key) for key in keys}


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else no_formula(value)


def _read(path: Path, kind: type[T]) -> T:
    return decode(_bytes(path), kind, label=str(path), remedy="run `amygdala-tl steer` again")


def _bytes(path: Path) -> bytes:
    return read_file(path, remedy="check the path")
