"""The short form in the terminal."""

from dataclasses import replace

from rich.console import Console

from amygdala_tl.report.diagnosis import diagnosis_summary
from tests.report.example import ODD_NAMES, SCRIPT, example_diagnosis


def shown(diagnosis, **options):
    """What a terminal of 140 columns prints."""
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(diagnosis_summary(diagnosis, **options))
    return console.export_text()


def test_every_concept_has_a_row_with_its_verdict_and_numbers():
    diagnosis = example_diagnosis(16)
    lines = shown(diagnosis).splitlines()
    for index, quality in enumerate(diagnosis.quality):
        (row,) = [
            line
            for line in lines
            if line.startswith(f"{quality.concept} ") and quality.verdict in line and "cosine" not in line
        ]
        if index < 15:
            assert f"{diagnosis.evaluation.auroc.value[index]:.3f}" in row
            assert f"{diagnosis.evaluation.bag_of_words[index]:.3f}" in row


def test_unknown_numbers_are_dashes_and_names_are_no_markup():
    text = shown(example_diagnosis(16))
    assert "nan" not in text.lower().replace("na\u00efvet\u00e9", "")
    assert "\u2013" in text
    assert SCRIPT in text
    marked = replace(example_diagnosis(16), concepts=ODD_NAMES)
    assert "[red]" not in shown(marked)


def test_counts_and_the_first_warnings_follow():
    diagnosis = example_diagnosis(16)
    verdicts = [quality.verdict for quality in diagnosis.quality]
    text = shown(diagnosis, warnings=2)
    assert f"{verdicts.count('readable')} readable" in text
    assert text.count("correlation of scores") == 2
    assert "more pairs" in text
    assert "not independent" not in shown(replace(diagnosis, crosstalk=()))
