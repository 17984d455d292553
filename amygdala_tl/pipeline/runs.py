"""Results folders of causal checks: what a run was made of, its lines and summary, and all of it read back.

run.json          what the run was made of, and where its reports are: one a seed
report.json       all numbers of the check (`steer`); seed-0/report.json, ... (`ablation-run`)
samples.jsonl     generations, beside each report
blocks.jsonl      what was measured, raw: from it a run goes on
config.toml       settings, paths relative to the folder (`ablation-run`)
results.jsonl     one line a seed, concept, layer and dose, and one a seed, concept and ablation (`ablation-run`)
summary.tsv       one line a concept, over seeds (`ablation-run`)
"""

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amygdala_tl.errors import InputError
from amygdala_tl.files import atomic_write_text
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import Corpus
from amygdala_tl.steering.journal import key_of
from amygdala_tl.steering.prompts import open_prompts, plain_tokens
from amygdala_tl.steering.records import Ablation, Sample, SteeringReport
from amygdala_tl.steering.stored import StoredRun, report_from_json
from amygdala_tl.steering.summary import summarise

if TYPE_CHECKING:  # reading a folder needs no model
    from amygdala_tl.steering.check import SteeringCheck

RUN_FILE = "run.json"
REPORT_FILE = "report.json"
SAMPLES_FILE = "samples.jsonl"

FORMAT = 1


def about_run(check: "SteeringCheck", readout: Readout, corpus: Corpus | None) -> dict[str, Any]:
    """Fingerprints and hashes of all that a check's numbers depend on besides its plan, with versions.

    Args:
        check: that is run.
        readout: whose directions it adds.
        corpus: that it was given.
    """
    said, info, tokenizer = readout.provenance, check.loaded.info, check.loaded.tokenizer
    return {
        "model": {
            key: getattr(info, key)
            for key in ("id", "revision", "fingerprint", "architecture", "engine", "dtype", "n_layers", "d_model")
        },
        "versions": {**info.versions, "python": platform.python_version()},
        "readout": {
            "sha256": key_of(readout.vectors),
            "estimator": said.method,
            "corpus_sha256": said.corpus_sha256,
        },
        "corpus_sha256": None if corpus is None else corpus.sha256,
        "words": {concept: list(words) for concept, words in check.words.words.items()},
        "prompts_sha256": key_of(open_prompts(tokenizer), plain_tokens(tokenizer)),
        "carriers_sha256": key_of({str(place): tokens for place, tokens in check.carriers.items()}),
    }


def write_run(folder: Path, command: str, about: Mapping[str, Any], reports: Mapping[int, str]) -> Path:
    """`run.json`.

    Args:
        folder: of the results.
        command: that wrote them.
        about: from `about_run`.
        reports: seed -> path of its report in the folder.

    Raises:
        StorageError: the disk refused.
    """
    head = {"format": FORMAT, "command": command, "reports": {str(seed): path for seed, path in reports.items()}}
    atomic_write_text(folder / RUN_FILE, json.dumps({**head, **about}, indent=2, ensure_ascii=False) + "\n")
    return folder / RUN_FILE


def read_run(folder: Path) -> StoredRun:
    """A results folder of `steer` or `ablation-run`.

    Raises:
        InputError: it is none, or a file in it is damaged.
    """
    about: dict[str, Any] = {}
    if (folder / RUN_FILE).exists():
        about = _json(folder / RUN_FILE)
        if about.get("format") != FORMAT:
            raise InputError(
                "is of another version", label=str(folder / RUN_FILE), got=about.get("format"), need=FORMAT,
                remedy="run it again with this version",
            )  # fmt: skip
    named = about.pop("reports", None)
    paths = list(named.values()) if isinstance(named, dict) and named else [REPORT_FILE]
    reports, samples = [], []
    for path in map(str, paths):
        report = folder / path
        if not report.is_file():
            raise InputError(
                "holds no finished run", label=str(folder), got=f"no {path}", need="a folder of `steer` or `ablation-run`",
                remedy="check the path, or let the run finish",
            )  # fmt: skip
        reports.append(report_from_json(_json(report), str(report)))
        samples += _samples(report.with_name(SAMPLES_FILE))
    return StoredRun(folder.resolve().name, tuple(reports), about, tuple(samples))


def result_lines(reports: Sequence[SteeringReport]) -> str:
    """JSON lines: every judged number, one line a seed, concept, layer and dose, and one a seed, concept and ablation."""
    rows: list[dict[str, Any]] = []
    for report in reports:
        for found in report.as_json()["concepts"]:
            head = {"seed": report.plan.seed, "concept": found["concept"]}
            for of in found["layers"]:
                rows += [{**head, "kind": "dose", "layer": of["layer"], **at} for at in of["doses"]]
            removed = [
                *(of["ablation"] for of in found["layers"]),
                found["ablation_together"],
                found["ablation_everywhere"],
            ]
            rows += [{**head, "kind": "ablation", **each} for each in removed if each is not None]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def summary_tsv(reports: Sequence[SteeringReport]) -> str:
    """One line a concept, over seeds, tab-separated, with a head; an empty field was not measured."""
    rows = []
    for found in summarise(reports):
        at = asdict(found.at)
        del at["by_prompt"]
        row = {
            "concept": found.concept,
            "verdict": found.verdict,
            "steers_in": found.steers_in,
            "seeds": found.seeds,
            "layer": found.layer,
            **at,
        }
        for name, ablation in zip(("here", "together", "everywhere"), found.ablation, strict=True):
            row |= {f"ablated_{name}_{key}": value for key, value in _ablation(ablation).items()}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _rounded(value) for key, value in row.items()} for row in rows])
    return text.getvalue()


def _ablation(found: Ablation | None) -> dict[str, Any]:
    keys = ("fall", "low", "high", "random_mean", "random_deviation", "p_value")
    return {key: None if found is None else getattr(found, key) for key in keys}


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _samples(path: Path) -> list[Sample]:
    if not path.exists():
        return []
    try:
        return [Sample(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, TypeError) as cause:
        raise InputError("holds no samples", label=str(path), got=str(cause), remedy="delete it") from cause


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise InputError("cannot be read", label=str(path), got=str(cause), remedy="run it again") from cause
    if not isinstance(found, dict):
        raise InputError("is no report", label=str(path), need="a JSON object", remedy="run it again")
    return found
